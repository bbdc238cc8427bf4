"""Run by torchrun in two processes, and for comparison in one: DATA OUT [all]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lightning
import torch
from recipes import one_stage, recipe_file, signal_at

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import read_dataset
from enet_ros.errors import TrainingStopped
from enet_ros.training.loop import train_stages

RANK = os.environ.get('RANK', '0')


class Frozen(lightning.Callback):
    """Train without dropout and batch statistics, which differ between processes, and save how far the parameters moved."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        pl_module.network.eval()
        if trainer.current_epoch == 0:
            self.before = self._parameters(pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        torch.save(self._parameters(pl_module) - self.before, self.path)

    @staticmethod
    def _parameters(task: lightning.LightningModule) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in task.network.parameters()])


def run(data: Path, out: Path, also_stopped: bool) -> None:
    dataset = read_dataset(data)
    frozen = one_stage(batch_size=4, epochs=4, learning_rate=4e-3, crop=(96, 64))
    train_stages(dataset, frozen, out / 'frozen', callbacks=[Frozen(out / f'moved.{RANK}')])
    if not also_stopped:
        return
    recipe = one_stage(batch_size=4, epochs=1, learning_rate=5e-3)
    config = recipe_file(out / f'recipe.{RANK}.yaml', recipe)
    assert main(['train', '--data', str(data), '--config', str(config), '--out', str(out / 'whole')]) == 0
    try:
        train_stages(dataset, recipe, out / 'stopped', callbacks=[signal_at(1, rank=1)])  # the other process has to know
        raise AssertionError('not stopped')
    except TrainingStopped as error:
        print(f'process {RANK}: {error}')
    train_stages(dataset, recipe, out / 'stopped', resume=True)


if __name__ == '__main__':
    run(Path(sys.argv[1]), Path(sys.argv[2]), 'all' in sys.argv)

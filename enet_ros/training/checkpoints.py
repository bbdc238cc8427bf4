"""A stage's checkpoints: when they are saved, that they are whole, and which one is kept."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from enet_ros.errors import TrainingError
from enet_ros.files import replacing

LAST, BEST = 'last.ckpt', 'best.ckpt'


class StopOnSignal(lightning.Callback):
    """Saves a checkpoint and ends the run after the step in which a signal to stop came; a second one ends it at once."""

    def __init__(self, checkpoint: Path) -> None:
        """Save to `checkpoint`."""
        self.checkpoint = checkpoint
        self.received: signal.Signals | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the signals from Lightning, which would stop without saving, and in the end restores what was before it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Save in the middle of an epoch; at its end Lightning saves anyway."""
        if self._stops(trainer) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.checkpoint)
            self._stop()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop between two epochs."""
        if self._stops(trainer):
            self._stop()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop between two stages."""
        if self._stops(trainer):
            self._stop()

    def _stops(self, trainer: lightning.Trainer) -> bool:
        # the processes decide together, else one would wait for another that has gone
        return bool(trainer.strategy.reduce_boolean_decision(self.received is not None, all=False))

    def _stop(self) -> None:
        raise TrainingError(f'stopped by {self.received.name if self.received else "another process"}: '
                            f'go on with --resume, {self.checkpoint} is saved')


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place and renames them; Lightning copies them there from the temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write `checkpoint`, unless its weights are lost: then the former one is worth more."""
        for name, values in checkpoint['state_dict'].items():
            if not torch.isfinite(values).all():
                raise TrainingError(f'{name} is not finite after step {checkpoint["global_step"]}, {path} is as it was: '
                                    'go on with --resume and a lower learning_rate')
        with replacing(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # of torch's own writer, when the disk is full
                raise TrainingError(f'cannot write {path}: make room on the disk, then go on with --resume') from error


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch, also of a run whose folder was moved; Lightning's would take the first epoch after that."""

    def __init__(self, folder: Path) -> None:
        """Keep `folder`/best.ckpt."""
        super().__init__(folder, Path(BEST).stem, 'val_mean_iou', mode='max', enable_version_counter=False,
                         save_on_train_epoch_end=False)
        self.path = str(Path(str(self.dirpath)) / BEST)  # absolute, as Lightning says it: it compares the two

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was saved, with today's paths."""
        moved: dict[str, Any] = {'dirpath': self.dirpath}
        for score in state_dict['best_k_models'].values():  # one, once something was validated
            moved |= {'best_model_path': self.path, 'kth_best_model_path': self.path, 'best_k_models': {self.path: score}}
        super().load_state_dict({**state_dict, **moved})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; raises TrainingError when it is missing or damaged."""
    remedy = f'remove the folder {path.parent} and add --resume to begin this stage anew'
    if not path.is_file():
        raise TrainingError(f'there is no checkpoint {path}: {remedy}')
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # torch has no exception of its own for a damaged file
        raise TrainingError(f'checkpoint {path} is damaged: {remedy}') from error
    return checkpoint

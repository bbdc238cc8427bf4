"""The checkpoints of a stage: when one is written, that it is complete, and which one is kept."""

from __future__ import annotations

import signal
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from enet_ros.errors import TrainingError, TrainingStopped
from enet_ros.files import replacing

LAST, BEST = 'last.ckpt', 'best.ckpt'


class StopOnSignal(lightning.Callback):
    """Save a checkpoint and stop the run after the step in which SIGINT or SIGTERM arrives. A second signal kills it."""

    def __init__(self, checkpoint: Path) -> None:
        """Save to `checkpoint`."""
        self.checkpoint = checkpoint
        self.received: signal.Signals | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Replace Lightning's handlers, which stop without saving. Lightning restores the original ones at the end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Save and stop within an epoch. At the end of an epoch Lightning saves."""
        if self._must_stop(trainer) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.checkpoint)
            self._stop()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop between two epochs."""
        if self._must_stop(trainer):
            self._stop()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop between two stages."""
        if self._must_stop(trainer):
            self._stop()

    def _must_stop(self, trainer: lightning.Trainer) -> bool:
        # all processes decide together: one that stops alone would leave the others waiting
        return bool(trainer.strategy.reduce_boolean_decision(self.received is not None, all=False))

    def _stop(self) -> None:
        cause = self.received.name if self.received else 'a signal to another process'
        raise TrainingStopped(f'stopped by {cause}, saved {self.checkpoint}: add --resume to continue')


class AtomicCheckpoints(TorchCheckpointIO):
    """Write checkpoints completely or not at all, and never one with weights that are not finite."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            TrainingError: a weight is not finite, or the file cannot be written. The previous checkpoint is kept.

        """
        for name, values in checkpoint['state_dict'].items():
            if not torch.isfinite(values).all():
                raise TrainingError(f'{name} is not finite after step {checkpoint["global_step"]}, {path} is kept: '
                                    'add --resume and use a lower learning_rate')
        with replacing(Path(path), durable=True) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # the error of PyTorch's own writer when the disk is full
                raise TrainingError(f'cannot write {path}: free disk space, then add --resume to continue') from error


class BestCheckpoint(ModelCheckpoint):
    """Keep the checkpoint of the best epoch, also when the folder of the run was moved before it was resumed.

    Lightning's own callback forgets the best epoch in a moved folder and keeps the first one after that.
    """

    def __init__(self, folder: Path) -> None:
        """Keep `folder`/best.ckpt."""
        super().__init__(folder, Path(BEST).stem, 'val_mean_iou', mode='max', enable_version_counter=False,
                         save_on_train_epoch_end=False)
        self.path = str(Path(str(self.dirpath)) / BEST)  # absolute like Lightning's, which is compared with it

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the saved state, with the current paths."""
        moved: dict[str, Any] = {'dirpath': self.dirpath}
        for score in state_dict['best_k_models'].values():  # one after the first validation, else none
            moved |= {'best_model_path': self.path, 'kth_best_model_path': self.path, 'best_k_models': {self.path: score}}
        super().load_state_dict({**state_dict, **moved})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, and check the CRC-32 of everything in it.

    Raises:
        TrainingError: the file is missing or damaged.

    """
    remedy = f'remove the folder {path.parent} and add --resume to start this stage over'
    if not path.is_file():
        raise TrainingError(f'checkpoint {path} is missing: {remedy}')
    try:
        with zipfile.ZipFile(path) as archive:  # the format of torch.save; torch.load does not check it
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(damaged)
        checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # neither zipfile nor PyTorch has one exception for all damaged files
        raise TrainingError(f'checkpoint {path} is damaged: {remedy}') from error
    return checkpoint

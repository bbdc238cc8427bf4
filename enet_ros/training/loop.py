"""The training loop: every stage of a recipe on one prepared dataset, resumable, on CPU or CUDA."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset
from tqdm import tqdm

from enet_ros.datasets.prepared import Dataset, DatasetError, check_ids
from enet_ros.errors import EnetError
from enet_ros.files import replacing
from enet_ros.labels import VOID
from enet_ros.metrics import confusion_matrix, mean_iou
from enet_ros.network.architecture import Architecture
from enet_ros.network.enet import EncoderClassifier, ENet
from enet_ros.network.model_file import ModelInfo, write_model
from enet_ros.training.augmentation import augment
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.recipe import Recipe, Stage


class TrainingError(EnetError):
    """A run that cannot start or go on, and why."""


def load_split(dataset: Dataset, split: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Read a whole split at `size` (width, height): images N x 3 x H x W and labels N x H x W, both uint8, RGB.

    Decoded once and kept, since decoding costs more than a training step on a GPU.
    """
    images, labels = [], []
    for sample in tqdm(dataset.samples(split), desc=f'reading {split}', unit='image'):
        image, ids = sample.read()
        check_ids(sample.labels_path, ids, {*range(len(dataset.labels)), VOID})
        if ids.shape != (size[1], size[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT)
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1))
        labels.append(ids)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


class _EpochSampler(Sampler[int]):
    """A shuffle that depends on seed and epoch alone, so that a resumed run goes on with the batches it would have had."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the epoch from Lightning, which calls this before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(self.count, generator=generator).tolist())

    def __len__(self) -> int:
        return self.count


class SegmentationTask(lightning.LightningModule):
    """One stage of a recipe: what a step, a validation and the learning rate are."""

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor
    class_weights: Tensor

    def __init__(
        self,
        network: ENet | EncoderClassifier,
        recipe: Recipe,
        stage: Stage,
        train: tuple[Tensor, Tensor],
        val: tuple[Tensor, Tensor],
        weights: Tensor,
    ) -> None:
        """Train `network` on `train` with the class weights `weights`; the data moves to the training device as a whole."""
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.stage = stage
        self.classes = len(weights)
        for name, tensor in (('train_images', train[0]), ('train_labels', train[1]), ('val_images', val[0]),
                             ('val_labels', val[1]), ('class_weights', weights)):
            self.register_buffer(name, tensor, persistent=False)  # moved to the device, but not saved
        self.confusion: NDArray[np.int64] = np.zeros((self.classes, self.classes + 1), np.int64)

    def training_step(self, batch: tuple[Tensor], _: int) -> Tensor:
        """Return the loss of random views of the samples with the indices in `batch`."""
        (indices,) = batch
        # every step's views and dropout depend on seed and step alone, so that a resumed run goes on as it would have
        generator = torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)
        images, labels = augment(
            self.train_images[indices], self.train_labels[indices], self.stage.crop, self.stage.scale,
            self.recipe.brightness, generator,
        )
        loss = segmentation_loss(self.network(images), self._targets(labels), self.class_weights)
        if not torch.isfinite(loss):
            raise TrainingError(
                f'the loss is {loss.item()} in stage {self.stage.name}, epoch {self.current_epoch}, step {self.global_step} '
                f'(samples {indices.tolist()}): lower learning_rate; the last checkpoint is kept'
            )
        self.log('loss', loss.detach(), on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor], _: int) -> None:
        """Count the predictions on the samples with the indices in `batch`."""
        (indices,) = batch
        predicted = self.network(self.val_images[indices].float() / 255).argmax(1).to(torch.uint8)
        truth = self._targets(self.val_labels[indices])
        self.confusion += confusion_matrix(truth.cpu().numpy(), predicted.cpu().numpy(), self.classes)

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU of the validation split."""
        self.log('val_mean_iou', mean_iou(self.confusion) or 0.0, prog_bar=True)
        self.confusion[:] = 0

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam (paper section 5.2) and a half cosine from the stage's learning rate to zero."""
        optimizer = torch.optim.Adam(
            self.network.parameters(), self.stage.learning_rate, weight_decay=self.recipe.weight_decay
        )
        steps = self.stage.epochs * math.ceil(len(self.train_images) / self.recipe.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def _targets(self, labels: Tensor) -> Tensor:
        """Return the labels that the stage's network predicts: its output is an eighth of the size for the encoder alone."""
        return labels[:, 4::8, 4::8] if self.stage.network == 'encoder' else labels


def train(dataset: Dataset, recipe: Recipe, out: Path, resume: bool) -> Path:
    """Train ENet on `dataset` by `recipe` and return the model file, `out`/model.safetensors.

    `out` gets a folder for each stage with its last checkpoint and log/version_N/metrics.csv. With `resume`, stages go on
    from their last checkpoints, and finished ones are passed over.

    Raises:
        EnetError: `out` holds a run and `resume` is not set, or holds that of another recipe or dataset, a split is missing
            or damaged, or the loss is no longer finite.

    """
    run = _claim(out, recipe, dataset, resume)
    if 'train' not in dataset.pixels or sum(dataset.pixels['train']) == 0:
        raise DatasetError(f'{dataset.root / "dataset.yaml"} counts no labelled pixels in split train: convert it again')
    data = load_split(dataset, 'train', recipe.size), load_split(dataset, 'val', recipe.size)
    with replacing(out / 'run.json') as temporary:  # only now: nothing that was read so far can stop the run any more
        temporary.write_text(run, encoding='utf-8')
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)  # else it advertises on every start
    torch.manual_seed(recipe.seed)
    architecture = Architecture(
        len(dataset.labels), recipe.decoder_activation, recipe.decoder_dropout, recipe.last_kernel
    )
    network = ENet(architecture)
    for stage in recipe.stages:
        _train_stage(network, dataset, recipe, stage, data, out / stage.name)
    info = ModelInfo(
        architecture=architecture,
        labels=dataset.labels,
        training_size=recipe.size,
        dataset=dataset.name,
        recipe=asdict(recipe),
        license=dataset.license,
    )
    weights = {name: tensor.numpy() for name, tensor in network.cpu().state_dict().items() if tensor.is_floating_point()}
    path = out / 'model.safetensors'
    write_model(path, info, weights)
    return path


def _claim(out: Path, recipe: Recipe, dataset: Dataset, resume: bool) -> str:
    """Return what identifies this run, after making sure that `out` is free or, to resume, holds this very run."""
    names = list(dataset.labels.names)
    run = {'dataset': dataset.name, 'classes': names, 'pixels': dataset.pixels, 'recipe': asdict(recipe)}
    text = json.dumps(run, indent=2) + '\n'
    path = out / 'run.json'
    if not path.exists():
        return text
    if not resume:
        raise TrainingError(f'{out} already holds a run: add --resume to go on with it, or choose another folder')
    if path.read_text(encoding='utf-8') != text:
        raise TrainingError(f'{out} holds a run with another recipe or dataset, see {path}: choose another folder')
    return text


def _check_checkpoint(path: Path) -> None:
    try:
        torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # torch has no exception of its own for a damaged file
        raise TrainingError(f'checkpoint {path} is damaged: remove it to begin its stage anew') from error


def _train_stage(
    network: ENet,
    dataset: Dataset,
    recipe: Recipe,
    stage: Stage,
    data: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    folder: Path,
) -> None:
    part: ENet | EncoderClassifier = network
    if stage.network == 'encoder':
        part = EncoderClassifier(network.encoder, len(dataset.labels))
    weights = class_weights(dataset.pixels['train'], stage.class_weight_constant)
    task = SegmentationTask(part, recipe, stage, data[0], data[1], weights)
    # loaders hand out indices: the task holds the data on the training device
    train_indices, val_indices = (TensorDataset(torch.arange(len(images))) for images, _ in data)
    last = folder / 'last.ckpt'
    if last.is_file():
        _check_checkpoint(last)
    with warnings.catch_warnings():
        # Lightning warns of its own use of PyTorch, of folders that hold logs, and of loaders without worker processes
        warnings.filterwarnings('ignore', module=r'lightning\.')
        trainer = lightning.Trainer(
            accelerator='auto',
            devices=1,
            precision=recipe.precision,
            max_epochs=stage.epochs,
            check_val_every_n_epoch=recipe.validate_every,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=CSVLogger(folder, name='log'),  # a new version_N when resumed: nothing is overwritten
            callbacks=[
                # one file, written beside and renamed after every epoch, validated or not
                ModelCheckpoint(folder, filename='last', enable_version_counter=False, save_on_train_epoch_end=True),
                TQDMProgressBar(leave=True),
            ],
            enable_model_summary=False,
        )
        try:
            trainer.fit(
                task,
                DataLoader(train_indices, recipe.batch_size, sampler=_EpochSampler(len(train_indices), recipe.seed)),
                DataLoader(val_indices, recipe.batch_size),
                ckpt_path=last if last.is_file() else None,
                weights_only=True,
            )
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise TrainingError(f'stopped in stage {stage.name}: go on with --resume') from error



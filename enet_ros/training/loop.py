"""The training loop: every stage of a recipe on one prepared dataset, resumable, on CPU or CUDA, in one process or many.

Lightning runs it. Which samples a step sees, how it changes them and what dropout drops depends on seed and step alone: that
is what makes a resumed run go on as if it had never stopped. Under torchrun each process computes its share of every batch.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
import warnings
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassConfusionMatrix

from enet_ros.datasets.prepared import Dataset, DatasetError
from enet_ros.errors import EnetError
from enet_ros.files import replacing
from enet_ros.labels import VOID
from enet_ros.metrics import mean_iou
from enet_ros.network.enet import EncoderClassifier, ENet
from enet_ros.network.load import make_network
from enet_ros.network.model_file import ModelInfo, write_model
from enet_ros.network.segnet import SegNet
from enet_ros.training.augmentation import augment
from enet_ros.training.data import Images, choose_samples, load_images
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.recipe import Recipe, Stage

log = logging.getLogger(__name__)

LAST, BEST = 'last.ckpt', 'best.ckpt'


class TrainingError(EnetError):
    """A run that cannot start or go on, and why."""


def is_main_process() -> bool:
    """Return whether this process is the one that writes files: the only one, or the first that torchrun started."""
    return os.environ.get('RANK', '0') == '0'


class SegmentationTask(lightning.LightningModule):
    """One stage of a recipe: what a step, a validation and the learning rate are."""

    class_weights: Tensor

    def __init__(self, network: nn.Module, recipe: Recipe, stage: Stage, train: Images, val: Images,
                 weights: Tensor) -> None:
        """Train `network` on `train` with the class weights `weights`; the data moves to the training device as a whole."""
        super().__init__()
        self.network = network
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
        # buffers, too: the averaged weights want the averaged statistics of the normalisations
        self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.recipe = recipe
        self.stage = stage
        self.train_images = train  # no buffers, which would be saved with every checkpoint and sent between processes
        self.val_images = val
        self.register_buffer('class_weights', weights, persistent=False)
        self.confusion = MulticlassConfusionMatrix(len(weights), ignore_index=VOID, validate_args=False)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of whole batches; what is left over changes with the shuffle from epoch to epoch."""
        return max(1, len(self.train_images.names) // self.recipe.batch_size)

    def on_fit_start(self) -> None:
        """Move the images to where the training runs."""
        self.train_images, self.val_images = self.train_images.to(self.device), self.val_images.to(self.device)

    def on_train_start(self) -> None:
        """Take the learning rate from the recipe, not from the checkpoint: a resumed run may have a lower one."""
        schedule = self.trainer.lr_scheduler_configs[0].scheduler
        schedule.base_lrs = [self.stage.learning_rate] * len(schedule.base_lrs)
        for group in self.trainer.optimizers[0].param_groups:
            group['lr'] = self.stage.learning_rate * self._rate(self.global_step)

    def on_train_epoch_start(self) -> None:
        """Have the last epoch validated, too: the learning rate's way down makes it the best one as a rule."""
        if self.current_epoch == self.stage.epochs - 1:
            self.trainer.check_val_every_n_epoch = 1

    def on_fit_end(self) -> None:
        """Let go of the images, which the next stage moves to the device again."""
        del self.train_images, self.val_images

    def _batch(self) -> Tensor:
        """Return the indices of this step's samples."""
        epoch, position = divmod(self.global_step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        order = torch.randperm(len(self.train_images.names), generator=shuffle)
        return order[position * self.recipe.batch_size :][: self.recipe.batch_size]

    def _share(self, indices: Tensor) -> Tensor:
        """Return what of a batch this process computes."""
        return indices[self.global_rank :: self.trainer.world_size]

    def training_step(self, _: object) -> Tensor:
        """Return the loss of random views of this step's samples."""
        indices = self._share(self._batch())
        # the seed of dropout, too
        generator = torch.manual_seed((self.recipe.seed * 1_000_003 + self.global_step) * 1009 + self.global_rank)
        images, labels = augment(
            self.train_images.images[indices], self.train_images.labels[indices], self.stage.crop, self.stage.scale,
            self.recipe.jitter, generator,
        )
        scores = self.network(images.contiguous(memory_format=torch.channels_last))
        total, weight = segmentation_loss(scores, self._targets(labels), self.class_weights)
        # processes average their gradients: divided by the mean of their weights, they give those of the whole batch
        weight = self.trainer.strategy.reduce(weight, reduce_op='mean')
        loss = total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if not torch.isfinite(loss):
            names = ', '.join(self.train_images.names[index] for index in indices.tolist())
            raise TrainingError(
                f'the loss is {loss.item()} in stage {self.stage.name}, epoch {self.current_epoch}, step {self.global_step} '
                f'(samples {names}): go on from the last checkpoint with --resume and a lower learning_rate'
            )
        figures = {'loss': loss.detach(), 'learning_rate': self.trainer.optimizers[0].param_groups[0]['lr']}
        self.log_dict(figures, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=len(indices))
        return loss

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Lightning's
        """Make the step and follow it with the moving average; later hooks may already save a checkpoint."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.network)

    def validation_step(self, batch: tuple[Tensor]) -> None:
        """Count the predictions of the averaged weights on the samples with the indices in `batch`."""
        indices = batch[0][self.global_rank :: self.trainer.world_size]
        if len(indices):
            images = self.val_images.images[indices].float() / 255
            scores = self.average(images.contiguous(memory_format=torch.channels_last))
            self.confusion.update(scores.argmax(1), self._targets(self.val_images.labels[indices]).long())

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU on the validation samples."""
        # counted over all processes by now; nothing is predicted void
        counts = nn.functional.pad(self.confusion.compute(), (0, 1))
        self.log('val_mean_iou', mean_iou(counts.cpu().numpy()) or 0.0, prog_bar=True)
        self.confusion.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer (paper section 5.2: Adam) and the learning rate's way from zero up, and down to zero."""
        kind = torch.optim.Adam if self.recipe.optimizer == 'adam' else torch.optim.AdamW
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim == 1]
        optimizer = kind([{'params': weights, 'weight_decay': self.recipe.weight_decay},
                          {'params': others, 'weight_decay': 0.0}], self.stage.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def _rate(self, step: int) -> float:
        """Return the share of the stage's learning rate that `step` uses."""
        warmup, steps = self.recipe.warmup_epochs * self.steps_per_epoch, self.stage.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        rest = max(0.0, (steps - step) / max(1.0, steps - warmup))
        return 0.5 * (1 - math.cos(math.pi * rest)) if self.recipe.schedule == 'cosine' else float(rest**0.9)

    def _targets(self, labels: Tensor) -> Tensor:
        """Return the labels that the stage's network predicts: its output is an eighth of the size for the encoder alone."""
        return labels[:, 4::8, 4::8] if self.stage.network == 'encoder' else labels


class _StopOnSignal(lightning.Callback):
    """Saves a checkpoint and ends the run after the step in which a signal to stop came; a second one ends it at once."""

    def __init__(self, checkpoint: Path) -> None:
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


class _WholeCheckpoints(TorchCheckpointIO):
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


class _BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch, also of a run whose folder was moved; Lightning's would take the first epoch after that."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Path(BEST).stem, 'val_mean_iou', mode='max', enable_version_counter=False,
                         save_on_train_epoch_end=False)
        self.path = str(folder / BEST)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was saved, with today's paths."""
        moved: dict[str, Any] = {'dirpath': self.dirpath}
        for score in state_dict['best_k_models'].values():  # one, once something was validated
            moved |= {'best_model_path': self.path, 'kth_best_model_path': self.path, 'best_k_models': {self.path: score}}
        super().load_state_dict({**state_dict, **moved})


def train(dataset: Dataset, recipe: Recipe, out: Path, resume: bool = False, compiled: bool = False) -> Path:
    """Train the network of `recipe` on `dataset` and return the model file, `out`/model.safetensors.

    `out` gets recipe.yaml and a folder for each stage with last.ckpt, best.ckpt where there is something to validate on,
    and the figures of each epoch in log/version_N/metrics.csv and for TensorBoard. A stage hands on its best weights, or its
    last ones where nothing is validated. With `resume`, stages go on from their last checkpoints, and finished ones are
    passed over. `compiled` has torch.compile fuse the network's operations.

    Raises:
        EnetError: `out` holds a run and `resume` is not set, or holds that of another recipe or dataset, a split is missing
            or damaged, the loss is no longer finite, or a signal stopped the run.

    """
    run = _claim(out, recipe, dataset, resume)
    if compiled and not torch.cuda.is_available() and not (shutil.which('g++') or shutil.which('clang++')):
        raise TrainingError('torch.compile on a CPU needs a C++ compiler: install g++, or train without --compile')
    chosen = choose_samples(dataset, recipe)
    data = (load_images(dataset, chosen[0], recipe.size, 'reading training samples'),
            load_images(dataset, chosen[1], recipe.size, 'reading validation samples'))
    pixels = data[0].pixels(len(dataset.labels))
    if not pixels.any():
        raise DatasetError(f'no pixel of {dataset.root}, {", ".join(recipe.splits)} has a class: all is void')
    if is_main_process():  # only now: nothing that was read so far can stop the run any more
        with replacing(out / 'run.json') as temporary:
            temporary.write_text(run, encoding='utf-8')
        with replacing(out / 'recipe.yaml') as temporary:
            # by way of JSON, since YAML knows no tuples
            text = yaml.safe_dump(json.loads(run)['recipe'], sort_keys=False, default_flow_style=None)
            temporary.write_text(text, encoding='utf-8')
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)  # else it advertises on every start
    torch.manual_seed(recipe.seed)
    architecture = recipe.architecture(len(dataset.labels))
    network = make_network(architecture)
    for stage in recipe.stages:
        weights = class_weights(pixels, stage.class_weight_constant)
        log.info('stage %s of %s: %d epochs', stage.name, ', '.join(each.name for each in recipe.stages), stage.epochs)
        _train_stage(network, recipe, stage, data, weights, out / stage.name, compiled)
    info = ModelInfo(
        architecture=architecture,
        labels=dataset.labels,
        training_size=recipe.size,
        dataset=dataset.name,
        recipe=asdict(recipe),
        license=dataset.license,
    )
    weights_by_name = {name: tensor.contiguous().numpy() for name, tensor in network.state_dict().items()
                       if tensor.is_floating_point()}
    path = out / 'model.safetensors'
    if is_main_process():
        write_model(path, info, weights_by_name)
    return path


def _claim(out: Path, recipe: Recipe, dataset: Dataset, resume: bool) -> str:
    """Return what identifies this run, after making sure that `out` is free or, to resume, holds this very run."""
    names = list(dataset.labels.names)
    run = {'dataset': dataset.name, 'classes': names, 'pixels': dataset.pixels, 'recipe': asdict(recipe)}
    text = json.dumps(run, indent=2) + '\n'
    path = out / 'run.json'
    if not is_main_process():
        return text
    if not path.exists():
        for stage in recipe.stages:
            if (out / stage.name).exists():
                raise TrainingError(f'{out / stage.name} is there, but no {path} says of which run: choose another folder')
        if resume:
            log.info('nothing to resume in %s: a new run begins', out)
        return text
    if not resume:
        raise TrainingError(f'{out} already holds a run: add --resume to go on with it, or choose another folder')
    there, here = (_flat(_without_rates(json.loads(run))) for run in (path.read_text(encoding='utf-8'), text))
    if differing := [key for key in {**there, **here} if there.get(key) != here.get(key)]:
        raise TrainingError(
            f'{out} holds a run with another recipe or dataset, the first difference is {differing[0]}, '
            f'{there.get(differing[0])} there and {here.get(differing[0])} here: resume without --config and --set, '
            'or choose another folder'
        )
    return text


def _without_rates(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without its learning rates, which may be lowered when a loss was not finite."""
    stages = [{**stage, 'learning_rate': None} for stage in run['recipe']['stages']]
    return {**run, 'recipe': {**run['recipe'], 'stages': stages}}


def _flat(value: Any, name: str = '') -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the leaves of a JSON value by their dotted names."""
    if isinstance(value, dict):
        return {key: leaf for part in value for key, leaf in _flat(value[part], f'{name}.{part}').items()}
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return {key: leaf for i, entry in enumerate(value) for key, leaf in _flat(entry, f'{name}.{i}').items()}
    return {name.removeprefix('.'): value}


def _read_checkpoint(path: Path) -> dict[str, Any]:
    remedy = f'remove the folder {path.parent} and add --resume to begin this stage anew'
    if not path.is_file():
        raise TrainingError(f'there is no checkpoint {path}: {remedy}')
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # torch has no exception of its own for a damaged file
        raise TrainingError(f'checkpoint {path} is damaged: {remedy}') from error
    return checkpoint


def _train_stage(network: ENet | SegNet, recipe: Recipe, stage: Stage, data: tuple[Images, Images], weights: Tensor,
                 folder: Path, compiled: bool) -> None:
    """Train `network` by one stage and leave the kept weights in it."""
    part: nn.Module = network
    if stage.network == 'encoder' and isinstance(network, ENet):
        torch.manual_seed(recipe.seed)  # else the classifier would depend on whether the run was resumed
        part = EncoderClassifier(network.encoder, len(weights))
    task = SegmentationTask(part, recipe, stage, data[0], data[1], weights)
    if compiled:
        task.network.compile()
    processes, here = int(os.environ.get('WORLD_SIZE', '1')), int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
    if min(recipe.batch_size, len(data[0].names)) < processes:
        raise TrainingError(f'batch_size {recipe.batch_size} and {len(data[0].names)} samples leave some of {processes} '
                            'processes without any: start fewer')
    last = folder / LAST
    if last.is_file():
        _read_checkpoint(last)
    validated = bool(data[1].names)
    with warnings.catch_warnings():
        # Lightning warns of its own use of PyTorch, of folders that hold logs, and of loaders without worker processes
        warnings.filterwarnings('ignore', module=r'lightning\.')
        trainer = lightning.Trainer(
            accelerator='auto',
            devices=here,
            num_nodes=processes // here,
            strategy='ddp' if processes > 1 else 'auto',
            sync_batchnorm=torch.cuda.is_available(),  # PyTorch has it for GPUs alone
            use_distributed_sampler=False,  # the task takes its share of every batch itself
            precision=recipe.precision,
            max_epochs=stage.epochs,
            check_val_every_n_epoch=min(recipe.validate_every, stage.epochs),
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            # a new version_N when resumed: nothing is overwritten
            logger=[CSVLogger(folder, name='log'), TensorBoardLogger(folder, name='tensorboard')],
            callbacks=[
                _StopOnSignal(last),
                # after every epoch, validated or not
                ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False, save_on_train_epoch_end=True),
                *([_BestCheckpoint(folder)] if validated else []),
                TQDMProgressBar(leave=True),
            ],
            plugins=[_WholeCheckpoints()],
            enable_model_summary=False,
        )
        trainer.fit(
            task,
            # they only count: the task knows which samples a step sees
            DataLoader(TensorDataset(torch.arange(task.steps_per_epoch))),
            DataLoader(TensorDataset(torch.arange(len(data[1].names))), recipe.batch_size) if validated else None,
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
    # read by the process that wrote it: the others may be on machines with other disks
    kept = _read_checkpoint(folder / (BEST if validated else LAST))['state_dict'] if trainer.is_global_zero else {}
    prefix = 'average.module.'
    kept = trainer.strategy.broadcast({name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)})
    part.load_state_dict(kept)
    part.cpu()

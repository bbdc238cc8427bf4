"""The training loop: every stage of a recipe on one prepared dataset, resumable, on CPU or CUDA, in one process or many."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError, EnetError, TrainingError
from enet_ros.hardware import check_compiler, cpu_has_bf16
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import Architecture
from enet_ros.network.enet import EncoderClassifier, ENet
from enet_ros.network.model_file import ModelFile, ModelInfo, write_model
from enet_ros.network.registry import load_network, make_network
from enet_ros.network.segnet import SegNet
from enet_ros.training.checkpoints import BEST, LAST, BestCheckpoint, StopOnSignal, WholeCheckpoints, read_checkpoint
from enet_ros.training.data import Images, choose_samples, load_images
from enet_ros.training.losses import class_weights
from enet_ros.training.recipe import Recipe, Stage
from enet_ros.training.run_folder import identify_run, is_main_process, write_identity
from enet_ros.training.task import SegmentationTask

log = logging.getLogger(__name__)


def train(dataset: Dataset, recipe: Recipe, out: Path, resume: bool = False, compiled: bool = False,
          start: ModelFile | None = None) -> Path:
    """Train the network of `recipe` on `dataset` and return the model file, `out`/model.safetensors.

    `out` gets recipe.yaml and a folder for each stage with last.ckpt, best.ckpt where there is something to validate on,
    and the figures of each epoch in log/version_N/metrics.csv and for TensorBoard. A stage hands on its best weights, or its
    last ones where nothing is validated. With `resume`, stages go on from their last checkpoints, and finished ones are
    passed over. `compiled` has torch.compile fuse the network's operations. The network begins with the weights of `start`,
    except for the last layer where the classes are others; `out` keeps a copy of it.

    Raises:
        EnetError: `out` holds a run and `resume` is not set, or holds that of another recipe or dataset, a split is missing
            or damaged, `start` is of another network, the loss is no longer finite, or a signal stopped the run.

    """
    recipe = replace(recipe, precision=_precision(recipe))  # said in run.json: elsewhere it might be another
    identity = identify_run(out, recipe, dataset, resume, start)
    architecture = recipe.architecture(len(dataset.labels))
    torch.manual_seed(recipe.seed)
    network = make_network(architecture)
    if start:
        _begin_with(start, network, architecture, dataset.labels)
    chosen = choose_samples(dataset, recipe)
    _check_machine(recipe.batch_size, len(chosen[0]), compiled)
    data = (load_images(dataset, chosen[0], recipe.size, 'reading training samples'),
            load_images(dataset, chosen[1], recipe.size, 'reading validation samples'))
    pixels = data[0].pixels(len(dataset.labels))
    if not pixels.any():
        raise DatasetError(f'no pixel of {dataset.root}, {", ".join(recipe.splits)} has a class: all is void')
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)  # else it advertises on every start
    if is_main_process():  # only now: nothing that was read so far can stop the run any more
        write_identity(out, identity, start)
        log.info('training %s in precision %s', out, recipe.precision)
        if start:
            log.info('begun with the weights of %s%s', start.path, '' if start.info.labels.names == dataset.labels.names
                     else '; its classes are others, so the last layer began anew')
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
        license=_license(dataset, start),
        begun_with={'sha256': start.sha256, 'dataset': start.info.dataset, 'recipe': start.info.recipe,
                    'begun_with': start.info.begun_with} if start else {},
    )
    weights_by_name = {name: tensor.contiguous().numpy() for name, tensor in network.state_dict().items()
                       if tensor.is_floating_point()}
    path = out / 'model.safetensors'
    if is_main_process():
        write_model(path, info, weights_by_name)
    return path


def _check_machine(batch: int, samples: int, compiled: bool) -> None:
    """Refuse what the processes, their GPUs or the compiler cannot do."""
    processes, here = _processes()
    if min(batch, samples) < processes:
        raise TrainingError(f'batch_size {batch} and {samples} samples leave some of {processes} processes without any: '
                            'start fewer')
    if 0 < (gpus := torch.cuda.device_count()) < here:
        raise TrainingError(f'{here} processes for {gpus} GPUs: start one for each, with --nproc_per_node')
    if compiled:
        try:
            check_compiler(gpus > 0)
        except EnetError as error:
            raise TrainingError(f'{error}, or train without --compile') from error


def _processes() -> tuple[int, int]:
    """Return how many processes torchrun started, on all machines and on this one."""
    return int(os.environ.get('WORLD_SIZE', '1')), int(os.environ.get('LOCAL_WORLD_SIZE', '1'))


def _begin_with(start: ModelFile, network: ENet | SegNet, architecture: Architecture, labels: LabelSet) -> None:
    """Give `network` the weights of `start`; a last layer for other classes than `labels` is left as it is."""
    info = start.info
    there, here = asdict(info.architecture), asdict(architecture)
    for option in here:  # the network's name first
        if option not in ('classes', 'decoder_dropout') and there.get(option) != here[option]:
            raise TrainingError(f'{start.path} has {option} {there.get(option)} and the recipe {here[option]}: '
                                'begin with a model of the same network, or change the recipe')
    if (info.mean, info.std) != ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        raise TrainingError(f'{start.path} takes images less mean {info.mean} over std {info.std}, and a training those in '
                            '[0, 1]: begin with a model of "enet train"')
    kept = {name: values for name, values in load_network(start).state_dict().items()
            if info.labels.names == labels.names or not name.startswith(network.classifier_name)}
    network.load_state_dict(kept, strict=False)


def _license(dataset: Dataset, start: ModelFile | None) -> str:
    """Return what may be done with weights that came of `dataset`, and of those that `start` was trained on."""
    if start is None or start.info.license == dataset.license:
        return dataset.license
    return f'{dataset.license}; begun with weights from {start.info.dataset}: {start.info.license}'


def _precision(recipe: Recipe) -> Literal['32-true', 'bf16-mixed', '16-mixed']:
    """Return the precision of `recipe` on this machine."""
    if recipe.precision != 'auto':
        return recipe.precision
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if torch.cuda.is_available() else cpu_has_bf16()
    return 'bf16-mixed' if has_bf16 else '32-true'


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
    processes, here = _processes()
    last = folder / LAST
    if last.is_file():
        done, steps = read_checkpoint(last)['global_step'], stage.epochs * task.steps_per_epoch
        log.info('stage %s %s', stage.name, 'is finished' if done >= steps else f'goes on after step {done} of {steps}')
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
            precision=_precision(recipe),
            max_epochs=stage.epochs,
            check_val_every_n_epoch=min(recipe.validate_every, stage.epochs),
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            # a new version_N when resumed: nothing is overwritten
            logger=[CSVLogger(folder, name='log'), TensorBoardLogger(folder, name='tensorboard')],
            callbacks=[
                StopOnSignal(last),
                # after every epoch, validated or not
                ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False, save_on_train_epoch_end=True),
                *([BestCheckpoint(folder)] if validated else []),
                TQDMProgressBar(leave=True),
            ],
            plugins=[WholeCheckpoints()],
            enable_model_summary=False,
        )
        try:
            trainer.fit(
                task,
                # they only count: the task knows which samples a step sees
                DataLoader(TensorDataset(torch.arange(task.steps_per_epoch))),
                DataLoader(TensorDataset(torch.arange(len(data[1].names))), recipe.batch_size) if validated else None,
                ckpt_path=last if last.is_file() else None,
                weights_only=True,
            )
        except torch.OutOfMemoryError as error:
            raise TrainingError(f'the memory of the GPU does not do for stage {stage.name}: end what else uses it and go on '
                                'with --resume, or begin in another folder with a lower batch_size, crop or size') from error
    # read by the process that wrote it: the others may be on machines with other disks
    kept = read_checkpoint(folder / (BEST if validated else LAST))['state_dict'] if trainer.is_global_zero else {}
    prefix = 'average.module.'
    kept = trainer.strategy.broadcast({name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)})
    part.load_state_dict(kept)
    part.cpu()

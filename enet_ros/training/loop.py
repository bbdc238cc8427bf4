"""Train all stages of a recipe on a prepared dataset: resumable, on CPU or CUDA, in one process or several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError, TrainingError
from enet_ros.files import remove_temporaries
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import Architecture
from enet_ros.network.enet import EncoderClassifier, ENet
from enet_ros.network.model_file import ModelFile, ModelInfo, write_model
from enet_ros.network.registry import Network, load_network, make_network
from enet_ros.training.checkpoints import BEST, LAST, AtomicCheckpoints, BestCheckpoint, StopOnSignal, read_checkpoint
from enet_ros.training.data import Images, choose_samples, load_images
from enet_ros.training.finish import FinishedRun, finish
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.machine import (
    Precision,
    check_machine,
    choose_precision,
    has_bf16,
    is_main_process,
    process_counts,
)
from enet_ros.training.recipe import Recipe, Stage
from enet_ros.training.run_folder import identify_run, write_identity
from enet_ros.training.task import SegmentationTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """What all stages of a run share."""

    recipe: Recipe
    precision: Precision
    labels: LabelSet
    train_images: Images
    val_images: Images
    compiled: bool
    callbacks: Sequence[lightning.Callback]


def train(dataset: Dataset, recipe: Recipe, out: Path, resume: bool = False, compiled: bool = False,
          start: ModelFile | None = None) -> FinishedRun:
    """Train the network of `recipe` on `dataset`, evaluate it, and write the model and its report to the folder `out`.

    Args:
        dataset: The prepared dataset.
        recipe: What to train, and how.
        out: Folder of the run.
        resume: Continue each stage from its last checkpoint. Finished stages are skipped.
        compiled: Fuse the operations of the network with torch.compile.
        start: Start with these weights, except those of the last layer if the classes differ. `out` keeps a copy.

    Raises:
        TrainingStopped: a signal stopped the run.
        EnetError: `out` holds a run and `resume` is not set, or it holds a run of another recipe or dataset; a split is
            missing or damaged; `start` is another network; or the loss is not finite.

    """
    return finish(train_stages(dataset, recipe, out, resume, compiled, start), dataset, recipe)


def train_stages(dataset: Dataset, recipe: Recipe, out: Path, resume: bool = False, compiled: bool = False,
                 start: ModelFile | None = None, callbacks: Sequence[lightning.Callback] = ()) -> Path:
    """Train as `train`, without the evaluation, and return the model file, `out`/model.safetensors.

    `out` gets recipe.yaml, run.json and a folder for each stage with last.ckpt, best.ckpt if there are validation samples,
    log/version_N/metrics.csv and the logs of TensorBoard. A stage passes on the weights of its best epoch, or of its last
    one without validation samples. Lightning calls `callbacks` before the package's own.

    Raises:
        EnetError: as `train`.

    """
    out = out.absolute()  # Lightning would take a "~" at the start for the home folder
    precision = choose_precision(recipe.precision, has_bf16())
    recipe = replace(recipe, precision=precision)  # run.json records it: another machine may choose another one
    architecture = recipe.architecture(len(dataset.labels))
    torch.manual_seed(recipe.seed)
    network = make_network(architecture)
    if start:
        _load_start(start, network, architecture, dataset.labels)
    identity = identify_run(out, recipe, dataset, resume, start)
    chosen = choose_samples(dataset, recipe)
    check_machine(recipe.batch_size, len(chosen[0]), torch.cuda.device_count(), precision, compiled)
    run = _Run(
        recipe, precision, dataset.labels,
        load_images(dataset, chosen[0], recipe.size, 'reading training samples'),
        load_images(dataset, chosen[1], recipe.size, 'reading validation samples'),
        compiled, callbacks,
    )
    pixels = run.train_images.pixels(len(dataset.labels))
    for images, kind in ((run.train_images, 'training'), (run.val_images, 'validation')):
        if images.names and not images.pixels(len(dataset.labels)).any():
            raise DatasetError(f'all labels of the {kind} samples of {dataset.root} are void: convert the dataset again')
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)  # it advertises products at every start
    if is_main_process():  # not before everything is read: an error must leave no folder behind
        write_identity(out, identity, start)
        log.info('training %s in precision %s', out, precision)
        if start:
            log.info('starting with the weights of %s%s', start.path, '' if start.info.labels.names == dataset.labels.names
                     else ' except the last layer: the classes differ')
    for stage in recipe.stages:
        weights = class_weights(pixels, stage.class_weight_constant)
        _train_stage(run, stage, network, weights, out / stage.name)
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


def _load_start(start: ModelFile, network: Network, architecture: Architecture, labels: LabelSet) -> None:
    """Load the weights of `start` into `network`, except those of the last layer if its classes are not `labels`."""
    info = start.info
    there, here = asdict(info.architecture), asdict(architecture)
    for option in here:  # the first one is the network's name
        if option not in ('classes', 'decoder_dropout') and there.get(option) != here[option]:
            raise TrainingError(f'{start.path} has {option} {there.get(option)}, the recipe has {here[option]}: '
                                'use a model of the same network, or change the recipe')
    if (info.mean, info.std) != ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        raise TrainingError(f'{start.path} needs images normalized by mean {info.mean} and std {info.std}, training uses '
                            'images in [0, 1]: use a model that "enet train" wrote')
    kept = {name: values for name, values in load_network(start).state_dict().items()
            if info.labels.names == labels.names or not name.startswith(network.classifier_name)}
    network.load_state_dict(kept, strict=False)


def _license(dataset: Dataset, start: ModelFile | None) -> str:
    """Return the license of weights trained on `dataset`, and of those of `start`."""
    if start is None or start.info.license == dataset.license:
        return dataset.license
    return f'{dataset.license}; started with weights from {start.info.dataset}: {start.info.license}'


def _train_stage(run: _Run, stage: Stage, network: Network, weights: Tensor, folder: Path) -> None:
    """Train `network` in one stage with the class weights `weights`. Afterwards it has the weights that the stage keeps."""
    part: nn.Module = network
    if stage.network == 'encoder' and isinstance(network, ENet):
        torch.manual_seed(run.recipe.seed)  # the classifier must be the same in a resumed run
        part = EncoderClassifier(network.encoder, len(run.labels))
    task = SegmentationTask(part, run.recipe, stage, run.labels, run.train_images, run.val_images, weights)
    if run.compiled:
        # without dynamic shapes: every stage has one shape of its own
        task.network.compile(dynamic=False)
        task.cross_entropy = torch.compile(segmentation_loss, dynamic=False)
    log.info('stage %s of %s: %d epochs of %d steps', stage.name, ', '.join(each.name for each in run.recipe.stages),
             stage.epochs, task.steps_per_epoch)
    processes, here = process_counts()
    if is_main_process():
        remove_temporaries(folder)  # of a process that was killed while it saved a checkpoint
    last = folder / LAST
    if last.is_file():
        done, steps = read_checkpoint(last)['global_step'], stage.epochs * task.steps_per_epoch
        log.info('stage %s %s', stage.name, 'is finished' if done >= steps else f'continues after step {done} of {steps}')
    validated = len(run.val_images.names)
    with warnings.catch_warnings():
        # Lightning warns about its own use of PyTorch, folders that hold logs, and loaders without worker processes
        warnings.filterwarnings('ignore', module=r'lightning\.')
        trainer = lightning.Trainer(
            accelerator='auto',
            devices=here,
            num_nodes=processes // here,
            strategy='ddp' if processes > 1 else 'auto',
            sync_batchnorm=torch.cuda.is_available(),  # PyTorch supports it on GPUs only
            use_distributed_sampler=False,  # the task selects its share of every batch
            precision=run.precision,
            max_epochs=stage.epochs,
            check_val_every_n_epoch=min(run.recipe.validate_every, stage.epochs),
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            # a resumed run gets a new version_N: nothing is overwritten
            logger=[CSVLogger(folder, name='log'), TensorBoardLogger(folder, name='tensorboard')],
            callbacks=[
                *run.callbacks,
                StopOnSignal(last),
                # after every epoch, validated or not
                ModelCheckpoint(folder, Path(LAST).stem, enable_version_counter=False, save_on_train_epoch_end=True),
                *([BestCheckpoint(folder)] if validated else []),
                TQDMProgressBar(leave=True),
            ],
            plugins=[AtomicCheckpoints()],
            enable_model_summary=False,
        )
        try:
            trainer.fit(
                task,
                # these loaders only count: the task selects the samples of each step
                DataLoader(TensorDataset(torch.arange(task.steps_per_epoch))),
                DataLoader(TensorDataset(torch.arange(validated)), run.recipe.batch_size) if validated else None,
                ckpt_path=last if last.is_file() else None,
                weights_only=True,
            )
        except torch.OutOfMemoryError as error:
            raise TrainingError(f'not enough GPU memory for stage {stage.name}: free memory and add --resume, or start over '
                                'in another folder with a smaller batch_size, crop or size') from error
        except SystemExit as error:  # Lightning's reaction to Ctrl-C before the first step
            raise KeyboardInterrupt from error
    # read by the process that wrote it: the others may run on machines with other disks
    kept = read_checkpoint(folder / (BEST if validated else LAST))['state_dict'] if trainer.is_global_zero else {}
    prefix = 'average.module.'
    kept = trainer.strategy.broadcast({name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)})
    part.load_state_dict(kept)
    part.cpu()

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from helpers import ROOT
from recipes import RECIPE, recipe_file

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError, TrainingError
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.images.files import write_image
from enet_ros.labels import VOID
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network, make_network
from enet_ros.segmenter import Segmenter, SegmenterConfig
from enet_ros.training.data import Images, choose_samples
from enet_ros.training.history import read_history
from enet_ros.training.loop import train
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.task import SegmentationTask

Make = Callable[..., Dataset]


def test_class_weights_are_those_of_the_paper() -> None:
    weights = class_weights(torch.tensor([900, 100, 0]), 1.02)
    expected = [1 / math.log(1.02 + share) for share in (0.9, 0.1, 0)]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-5)
    assert 50 < weights[2] < 51  # "in the interval of [1, 50]"


def test_the_loss_ignores_void_and_weighs_classes() -> None:
    scores = torch.tensor([[[[2.0, 0.0, 9.0]], [[0.0, 1.0, -9.0]]]])
    labels = torch.tensor([[[0, 1, VOID]]], dtype=torch.uint8)
    weights = torch.tensor([1.0, 3.0])
    first, second = math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))
    total, weight = segmentation_loss(scores, labels, weights)
    assert total.item() == pytest.approx(first + 3 * second) and weight.item() == 4


def test_the_loss_of_nothing_but_void_is_zero_and_has_a_gradient() -> None:
    scores = torch.zeros(1, 2, 2, 2, requires_grad=True)
    total, weight = segmentation_loss(scores, torch.full((1, 2, 2), VOID, dtype=torch.uint8), torch.ones(2))
    total.backward()
    assert total.item() == 0 and weight.item() == 0 and scores.grad is not None and not scores.grad.any()


def test_what_is_held_out_is_validated_on_and_not_trained_on(drawn_dataset: Make) -> None:
    dataset = drawn_dataset()

    def names(**changes: object) -> tuple[list[str], ...]:
        chosen = choose_samples(dataset, dataclasses.replace(RECIPE, **changes))
        return tuple([sample.stem for sample in samples] for samples in chosen)

    train_names, val_names = [f'train{number}' for number in range(6)], ['val0', 'val1']
    assert names() == (train_names, val_names)
    assert names(splits=('train', 'val')) == (train_names + val_names, [])
    assert names(splits=('train', 'val'), hold_out=('train0', 'val1')) == (
        train_names[1:] + val_names[:1], ['train0', 'val1']
    )
    with pytest.raises(DatasetError, match=r'choose what the names of some begin with'):
        names(hold_out=('train',))
    with pytest.raises(DatasetError, match=r'hold_out "trian1": no sample\'s name begins so, train0, say, is one'):
        names(hold_out=('train0', 'trian1'))
    with pytest.raises(DatasetError, match='no images in'):
        names(splits=('test',))


def test_training_lowers_the_loss_and_writes_a_model_that_loads(drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=20, learning_rate=5e-3)
    recipe = dataclasses.replace(RECIPE, stages=(RECIPE.stages[0], stage), validate_every=20)
    path = train(drawn_dataset(), recipe, tmp_path / 'run', False)
    model = read_model(path)
    load_network(model)
    assert model.info.training_size == (96, 64) and model.info.dataset == 'drawn' and model.info.recipe['seed'] == 3
    history = read_history(tmp_path / 'run' / 'decoder')
    losses = [loss for _, loss in history.loss]
    assert len(losses) == 20 and losses[-1] < 0.8 * losses[0]
    rates = [rate for _, rate in history.learning_rate]
    assert max(rates) == rates[1] <= 5e-3 and rates[-1] < 0.1 * rates[1]  # up within an epoch, then down
    assert [epoch for epoch, _ in history.mean_iou] == [20]


def test_a_stage_keeps_the_averaged_weights_of_its_best_epoch(drawn_dataset: Make, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(RECIPE.stages[1], epochs=6, learning_rate=5e-3),))
    model = read_model(train(drawn_dataset(), recipe, tmp_path / 'run'))
    best = torch.load(tmp_path / 'run' / 'decoder' / 'best.ckpt', weights_only=True)
    measured = dict(read_history(tmp_path / 'run' / 'decoder').mean_iou)
    assert measured[best['epoch'] + 1] == max(measured.values())
    name = 'encoder.initial.convolution.convolution.weight'
    np.testing.assert_array_equal(model.weights[name], best['state_dict'][f'average.module.{name}'].numpy())
    assert (model.weights[name] != best['state_dict'][f'network.{name}'].numpy()).any()


def test_the_average_follows_a_run_of_few_steps(drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=10, learning_rate=5e-3)
    train(drawn_dataset(), dataclasses.replace(RECIPE, ema_decay=0.999, stages=(stage,)), tmp_path / 'run')
    state = torch.load(tmp_path / 'run' / 'decoder' / 'last.ckpt', weights_only=True)['state_dict']
    torch.manual_seed(RECIPE.seed)
    begun = dict(make_network(RECIPE.architecture(11)).named_parameters())
    moved = sum((state[f'network.{name}'] - values).norm() for name, values in begun.items())
    behind = sum((state[f'network.{name}'] - state[f'average.module.{name}']).norm() for name in begun)
    assert behind < 0.5 * moved


@pytest.mark.parametrize('decay', [0.0, 0.5])
def test_the_average_keeps_no_more_than_the_recipe_says(decay: float, drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=10, learning_rate=5e-3)
    recipe = dataclasses.replace(RECIPE, ema_decay=decay, stages=(stage,), warmup_epochs=0.0, schedule='poly')
    moves = []

    class Followed(SegmentationTask):
        def optimizer_step(self, *arguments: object, **options: object) -> None:
            before = self.average.module.decoder.fullconv.weight.clone()
            super().optimizer_step(*arguments, **options)
            now = self.average.module.decoder.fullconv.weight
            moves.append(((now - before).norm() / (self.network.decoder.fullconv.weight - before).norm()).item())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('enet_ros.training.loop.SegmentationTask', Followed)
        train(drawn_dataset(), recipe, tmp_path / 'run')
    assert moves[1] > 0.7  # much at first, whatever the recipe says
    np.testing.assert_allclose(moves[-5:], 1 - decay, rtol=1e-3)


# One process or one of several, without dropout and normalisation by each process's own share: then steps must be the same,
# and random views, too. Leaves behind how far the last stage moved the parameters of every process.
_PROCESS = """
import os, sys, torch
from enet_ros.cli.main import main
from enet_ros.training import task as task_module
on_fit_end = task_module.SegmentationTask.on_fit_end
def flat(task):
    return torch.cat([parameter.detach().flatten() for parameter in task.network.parameters()])
def freeze(task):
    task.network.eval()
    if task.current_epoch == 0:
        task.before = flat(task)
def keep(task):
    torch.save(flat(task) - task.before, f"{sys.argv[1]}.{os.environ.get('RANK', '0')}")
    on_fit_end(task)
task_module.SegmentationTask.on_train_epoch_start = freeze
task_module.SegmentationTask.on_fit_end = keep
sys.exit(main(sys.argv[2:]))
"""


def test_two_processes_train_as_one_does(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(train=10)
    for sample in dataset.samples('train')[::3]:  # batches whose halves have unequal weights
        write_image(sample.labels_path, np.where(np.arange(64)[:, None] < 40, np.uint8(VOID), sample.read()[1]))
    (tmp_path / 'process.py').write_text(_PROCESS)
    changes = ({'epochs': 1}, {'epochs': 6, 'learning_rate': 4e-3})
    stages = [{**dataclasses.asdict(stage), 'crop': (96, 64), **change} for stage, change in zip(RECIPE.stages, changes)]
    config = recipe_file(tmp_path / 'r.yaml', batch_size=4, stages=stages)
    train_arguments = ['train', '--data', str(dataset.root), '--config', str(config), '--out']
    printed = {}
    for name, launcher in (
        ('one', []), ('two', ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']),
    ):
        command = [sys.executable, *launcher, str(tmp_path / 'process.py'), str(tmp_path / name), *train_arguments]
        done = subprocess.run([*command, str(tmp_path / name)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout
    one, two = (read_history(tmp_path / run / 'decoder') for run in ('one', 'two'))
    np.testing.assert_allclose(two.loss, one.loss, rtol=5e-3)
    np.testing.assert_allclose(two.learning_rate, one.learning_rate, rtol=1e-6)
    moved, first, second = (torch.load(tmp_path / name, weights_only=True) for name in ('one.0', 'two.0', 'two.1'))
    assert torch.equal(first, second)
    # float32 adds up in another order, and Adam makes much of gradients that are nearly zero
    assert (first - moved).norm() < 0.01 * moved.norm()
    # all is written once, and by one
    assert printed['two'].count('mean IoU') == 1 and read_model(tmp_path / 'two' / 'model.safetensors').info.metrics


def test_more_processes_than_a_batch_has_samples_are_refused(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('WORLD_SIZE', '4')
    with pytest.raises(TrainingError, match=r'batch_size 3 .* leave some of 4 processes without any'):
        train(drawn_dataset(), RECIPE, tmp_path / 'run')
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(TrainingError, match=r'2 processes for 1 GPUs: start one for each, with --nproc_per_node'):
        train(drawn_dataset(), RECIPE, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_a_gpu_that_is_too_small_is_one_line(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # a stand-in for a GPU: what it would have free, and what PyTorch raises when that does not do
    caplog.set_level('INFO')
    monkeypatch.setattr('enet_ros.training.task._free_memory', lambda _: 100_000)
    train(drawn_dataset(), RECIPE, tmp_path / 'run')
    assert 'the images stay in main memory: 0.0 GB are more than half' in caplog.text

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(SegmentationTask, 'training_step', fail)
    with pytest.raises(TrainingError, match=r'GPU does not do for stage encoder: .* with a lower batch_size, crop or size'):
        train(drawn_dataset(), RECIPE, tmp_path / 'other')


def test_reweighing_begins_with_the_figures_of_the_run(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset, out = drawn_dataset(), tmp_path / 'run'
    stage = dataclasses.replace(RECIPE.stages[1], epochs=10, learning_rate=5e-3)
    model = train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), out)
    done = _reweigh(dataset, out, stage.class_weight_constant, 10)
    same, flat = (line.split()[1:] for line in done.stdout.splitlines()[1:])
    summary = evaluate(Segmenter(SegmenterConfig(model, 'torch', 'fp32')), dataset.samples('val')).summary()
    keys = ('mean_iou', 'class_average', 'global_accuracy')
    np.testing.assert_allclose([float(figure) for figure in same], [100 * summary[key] for key in keys], atol=0.06)
    assert flat != same
    assert 'c is 1.0: it must be above 1' in _reweigh(dataset, out, 1).stderr
    assert 'none/recipe.yaml' in _reweigh(dataset, out.with_name('none'), 2).stderr
    yaml_file = dataset.root / 'dataset.yaml'
    fields = yaml_file.read_text()
    yaml_file.write_text(fields.replace('Sky', 'Heaven'))
    assert 'has other classes than' in _reweigh(dataset, out, 2).stderr
    yaml_file.write_text(fields)
    recipe_file(out / 'recipe.yaml', splits=['train', 'val'])
    assert 'held nothing out' in _reweigh(dataset, out, 2).stderr


def _reweigh(dataset: Dataset, out: Path, *constants: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / 'scripts' / 'reweigh.py', '--data', dataset.root, out, *constants]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert 'Traceback' not in done.stderr
    return done


def _task(**changes: object) -> SegmentationTask:
    """Return a stage of five epochs with two steps each."""
    recipe = dataclasses.replace(RECIPE, warmup_epochs=1, **changes)
    stage = dataclasses.replace(recipe.stages[1], epochs=5)
    images = Images(list('abcdef'), torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.zeros(6, 8, 8, dtype=torch.uint8))
    return SegmentationTask(make_network(recipe.architecture(2)), recipe, stage, images, images, torch.ones(2))


@pytest.mark.parametrize(('schedule', 'middle'), [('cosine', 0.5), ('poly', 0.5**0.9)])
def test_the_learning_rate_rises_in_the_warm_up_and_falls_to_zero(schedule: str, middle: float) -> None:
    task = _task(schedule=schedule)
    plan = task.configure_optimizers()
    optimizer, scheduler, rates = plan['optimizer'], plan['lr_scheduler']['scheduler'], []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]['lr'] / task.stage.learning_rate)
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose([rates[step] for step in (0, 1, 2, 6, 10)], [1 / 3, 2 / 3, 1, middle, 0])
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.mark.parametrize(('name', 'kind'), [('adam', torch.optim.Adam), ('adamw', torch.optim.AdamW)])
def test_weights_decay_and_slopes_and_normalisations_do_not(name: str, kind: type) -> None:
    task = _task(optimizer=name, weight_decay=0.25)
    optimizer = task.configure_optimizers()['optimizer']
    assert type(optimizer) is kind
    decays = {id(one): group['weight_decay'] for group in optimizer.param_groups for one in group['params']}
    kernels = {id(module.weight) for module in task.network.modules()
               if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))}
    assert decays == {id(one): 0.25 if id(one) in kernels else 0.0 for one in task.network.parameters()}


@pytest.mark.parametrize(('has_bf16', 'chosen'), [(True, 'bf16-mixed'), (False, '32-true')])
def test_precision_auto_is_bf16_only_where_the_processor_has_it(
    has_bf16: bool, chosen: str, drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # both kinds of processor on one machine; what is asked of Lightning is what counts
    used = []

    class Trainer(lightning.Trainer):
        def __init__(self, **options: object) -> None:
            used.append(options['precision'])
            super().__init__(**options)

    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr('enet_ros.training.loop.cpu_has_bf16', lambda: has_bf16)
    monkeypatch.setattr('enet_ros.training.loop.lightning.Trainer', Trainer)
    stage = dataclasses.replace(RECIPE.stages[1], epochs=1)
    train(drawn_dataset(), dataclasses.replace(RECIPE, precision='auto', stages=(stage,)), tmp_path / 'run')
    assert used == [chosen]


def test_compiled_and_eager_training_agree(drawn_dataset: Make, tmp_path: Path) -> None:
    if not (shutil.which('g++') or shutil.which('clang++')):
        pytest.skip('torch.compile needs a C++ compiler: install g++')
    recipe = dataclasses.replace(RECIPE, stages=RECIPE.stages[1:])
    dataset = drawn_dataset()
    eager, compiled = (read_history(train(dataset, recipe, tmp_path / name, compiled=name == 'compiled').parent / 'decoder')
                       for name in ('eager', 'compiled'))
    # dropout draws other numbers when compiled
    np.testing.assert_allclose([loss for _, loss in compiled.loss], [loss for _, loss in eager.loss], rtol=0.05)


def test_compiling_without_a_compiler_is_refused(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(TrainingError, match=r'a compiler: install g\+\+, or train without --compile'):
        train(drawn_dataset(), RECIPE, tmp_path / 'run', compiled=True)
    assert not (tmp_path / 'run').exists()


def test_the_last_epoch_is_validated_whatever_the_rhythm(drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=5)
    train(drawn_dataset(), dataclasses.replace(RECIPE, validate_every=2, stages=(stage,)), tmp_path / 'run')
    assert [epoch for epoch, _ in read_history(tmp_path / 'run' / 'decoder').mean_iou] == [2, 4, 5]


def test_a_label_that_is_no_class_is_named(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    path = dataset.samples('train')[2].labels_path
    write_image(path, np.full((64, 96), 50, np.uint8))
    with pytest.raises(DatasetError, match=f'{path} holds label id 50'):
        train(dataset, RECIPE, tmp_path / 'run', False)
    assert not (tmp_path / 'run').exists()  # mended, the same command may be given again

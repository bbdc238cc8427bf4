from __future__ import annotations

import csv
import dataclasses
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from enet_ros.datasets.prepared import Dataset, DatasetError
from enet_ros.errors import EnetError
from enet_ros.files import write_image
from enet_ros.labels import VOID
from enet_ros.network.load import load_network
from enet_ros.network.model_file import read_model
from enet_ros.training.augmentation import ColorJitter, augment
from enet_ros.training.data import choose_samples
from enet_ros.training.history import read_history
from enet_ros.training.loop import TrainingError, _WholeCheckpoints, train
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.recipe import Recipe, RecipeError, Stage, read_recipe

Make = Callable[..., Dataset]

RECIPE = Recipe(
    size=(96, 64), splits=('train',), hold_out=(), decoder_activation='prelu', decoder_dropout=0.1, last_kernel=3,
    batch_size=3, optimizer='adam', weight_decay=2e-4, schedule='cosine', warmup_epochs=0.5, ema_decay=0.9,
    precision='32-true', seed=3, validate_every=1, jitter=ColorJitter(0.2, 0.2, 0.2, 0.1),
    stages=(
        Stage('encoder', 'encoder', 1, 1e-3, (64, 64), (0.5, 1.5), 1.2),
        Stage('decoder', 'enet', 2, 1e-3, (64, 64), (0.5, 1.5), 1.02),
    ),
)


UNCHANGED = ColorJitter(0, 0, 0, 0)


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


def test_augmentation_moves_image_and_labels_together() -> None:
    # an image that shows its own label ids: whatever the view, each pixel must still carry its label
    labels = torch.arange(8, dtype=torch.uint8).repeat_interleave(8).repeat(64, 1)[None].repeat(16, 1, 1)
    images = (labels * 30)[:, None].repeat(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    views, ids = augment(images, labels, (48, 40), (0.5, 2.0), UNCHANGED, generator)
    assert views.shape == (16, 3, 40, 48) and ids.shape == (16, 40, 48) and ids.dtype == torch.uint8
    known = ids != VOID
    # bilinear sampling mixes neighbours at the borders between ids, by half an id at the most
    difference = (views[:, 0] * 255 / 30 - ids.float()).abs()[known]
    assert (difference < 0.05).float().mean() > 0.7 and difference.median() < 1e-3
    assert len({tuple(row.tolist()) for row in ids[:, 20]}) > 8  # views differ


def test_augmentation_is_as_exact_under_mixed_precision() -> None:
    images = torch.randint(0, 256, (4, 3, 60, 480), dtype=torch.uint8)
    labels = torch.zeros(4, 60, 480, dtype=torch.uint8)
    plain = augment(images, labels, (240, 40), (0.5, 1.5), RECIPE.jitter, torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16):
        mixed = augment(images, labels, (240, 40), (0.5, 1.5), RECIPE.jitter, torch.Generator().manual_seed(0))
    assert torch.equal(plain[0], mixed[0]) and torch.equal(plain[1], mixed[1])


def test_augmentation_makes_the_outside_black_and_void() -> None:
    images, labels = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8), torch.zeros(4, 32, 32, dtype=torch.uint8)
    views, ids = augment(images, labels, (64, 64), (1.0, 1.0), UNCHANGED, torch.Generator().manual_seed(0))
    assert (ids == VOID).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert set(ids.unique().tolist()) == {0, VOID}
    assert not views.permute(0, 2, 3, 1)[ids == VOID].gt(0.8).any()


def _jittered(image: torch.Tensor, jitter: ColorJitter) -> torch.Tensor:
    """Return 32 views of one image (3 x H x W, uint8) that differ in nothing but flips and colours."""
    images = image[None].repeat(32, 1, 1, 1)
    labels = torch.zeros(32, *image.shape[1:], dtype=torch.uint8)
    size = (image.shape[2], image.shape[1])
    return augment(images, labels, size, (1.0, 1.0), jitter, torch.Generator().manual_seed(0))[0]


def test_brightness_multiplies_and_contrast_stretches() -> None:
    image = torch.tensor([60, 120], dtype=torch.uint8).view(1, 1, 2).repeat(3, 8, 4)
    bright = _jittered(image, ColorJitter(0.5, 0, 0, 0)).flatten(1) * 255
    ratio = bright.max(1).values / bright.min(1).values
    np.testing.assert_allclose(ratio.numpy(), 2, rtol=1e-3)
    assert bright.max() > 150 and bright.max(1).values.min() < 90  # from 60 to 180
    stretched = _jittered(image, ColorJitter(0, 0.5, 0, 0)).flatten(1) * 255
    np.testing.assert_allclose(stretched.mean(1).numpy(), 90, atol=0.5)
    spread = stretched.max(1).values - stretched.min(1).values
    assert spread.max() > 75 and spread.min() < 45  # from 30 to 90


def test_saturation_and_hue_leave_grey_alone_and_change_colours() -> None:
    grey = torch.full((3, 8, 8), 90, dtype=torch.uint8)
    for jitter in (ColorJitter(0, 0, 1, 0), ColorJitter(0, 0, 0, 0.5)):
        np.testing.assert_allclose(_jittered(grey, jitter).numpy(), 90 / 255, atol=1e-5)
    red = torch.tensor([150, 90, 90], dtype=torch.uint8).view(3, 1, 1).repeat(1, 8, 8)
    pale = _jittered(red, ColorJitter(0, 0, 0.5, 0))[:, :, 0, 0] * 255
    np.testing.assert_allclose(pale.mean(1).numpy(), 110, atol=1e-3)
    strength = pale[:, 0] - pale[:, 1]
    assert strength.min() < 45 and strength.max() > 75  # 60 plus or minus a half
    np.testing.assert_allclose(pale[:, 1].numpy(), pale[:, 2].numpy(), atol=1e-3)
    turned = _jittered(red, ColorJitter(0, 0, 0, 0.5))[:, :, 0, 0] * 255
    np.testing.assert_allclose(turned.mean(1).numpy(), 110, atol=1e-3)
    assert {int(color.argmax()) for color in turned} == {0, 1, 2}  # red became green and blue, too


@pytest.mark.parametrize('values', [(1.5, 0, 0, 0), (0, -0.1, 0, 0), (0, 0, 2, 0), (0, 0, 0, 0.6), (float('nan'), 0, 0, 0)])
def test_a_jitter_out_of_range_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(EnetError, match=r'it is from 0 to'):
        ColorJitter(*values)


def test_the_packages_recipes_can_be_read() -> None:
    paths = sorted((ROOT / 'config' / 'train').iterdir())
    networks = {path.stem: read_recipe(path).architecture(11).network for path in paths}
    assert networks == {'camvid': 'enet', 'camvid_ablation': 'enet', 'camvid_cpu': 'enet', 'cityscapes': 'enet',
                        'segnet_camvid': 'segnet', 'sunrgbd': 'enet'}


def _recipe_file(path: Path, **changes: object) -> Path:
    fields = {**dataclasses.asdict(RECIPE), **changes}
    fields = yaml.safe_load(yaml.safe_dump(_plain(fields)))
    path.write_text(yaml.safe_dump({key: value for key, value in fields.items() if value is not None}))
    return path


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _stage(**changes: object) -> list[dict[str, object]]:
    return [{**dataclasses.asdict(RECIPE.stages[1]), **changes}]


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    assert read_recipe(_recipe_file(tmp_path / 'r.yaml')) == RECIPE


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'batchsize': 4}, 'batchsize'),
    ({'seed': None}, 'seed'),
    ({'batch_size': 'many'}, 'batch_size'),
    ({'batch_size': 0}, 'batch_size 0'),
    ({'size': [100, 64]}, 'size is 100x64'),
    ({'size': [96]}, 'size'),
    ({'stages': []}, 'last stage'),
    ({'stages': _stage(network='encoder')}, 'last stage'),
    ({'stages': _stage(network='unet')}, 'network must be one of encoder, enet, segnet'),
    ({'stages': _stage(network='segnet') + _stage(name='second')}, 'stages train segnet and enet: write a recipe for each'),
    ({'stages': _stage(network='segnet'), 'decoder_dropout': 0.0}, 'leave those of ENet at .*decoder_dropout: 0.1'),
    ({'stages': _stage(network='segnet', crop=[64, 24])}, 'crop of stage decoder is 64x24: use multiples of 8 from 32 on'),
    ({'stages': _stage() * 2}, 'one name'),
    ({'stages': _stage(crop=[60, 64])}, 'crop of stage decoder is 60x64'),
    ({'stages': _stage(epochs=0)}, 'epochs 0'),
    ({'stages': _stage(learning_rate=-1.0)}, 'learning_rate -1.0'),
    ({'stages': _stage(scale=[2.0, 1.0])}, r'scale is \[2.0, 1.0\]'),
    ({'stages': _stage(class_weight_constant=1.0)}, 'class_weight_constant is 1.0'),
    ({'precision': 'fp8'}, 'precision'),
    ({'decoder_dropout': 1.5}, 'decoder_dropout is 1.5'),
    ({'jitter': {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.9}}, 'hue is 0.9'),
    ({'jitter': {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'gamma': 0.9}}, 'gamma'),
    ({'splits': []}, r'splits is \[\]'),
    ({'splits': ['training']}, r"splits is \['training'\]"),
    ({'ema_decay': 1.0}, 'ema_decay is 1.0'),
    ({'warmup_epochs': -1.0}, 'warmup_epochs -1.0'),
    ({'optimizer': 'sgd'}, 'optimizer'),
    ({'schedule': 'linear'}, 'schedule must be one of cosine, poly'),
    ({'splits': 'train'}, r'splits must be a list in \[ \], each text'),
    ({'size': 480}, r'size must be a list in \[ \] of 2, each a whole number'),
    ({'seed': 1.5}, 'seed must be a whole number'),
    ({'warmup_epochs': 5.0}, 'epochs 1 are fewer than the warmup_epochs 5.0'),
    ({'weight_decay': float('nan')}, 'weight_decay nan'),
    ({'stages': _stage(name='../x')}, r'stage name "../x"'),
], ids=str)
def test_a_wrong_recipe_is_refused_in_one_line(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason) as caught:
        read_recipe(_recipe_file(tmp_path / 'r.yaml', **changes))
    assert str(tmp_path / 'r.yaml') in str(caught.value) and '\n' not in str(caught.value)


def test_an_unknown_key_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'unknown key batchsize; known are size, .*batch_size.*; in each of stages name'):
        read_recipe(_recipe_file(tmp_path / 'r.yaml', batchsize=4))


def test_changes_reach_every_part_of_a_recipe(tmp_path: Path) -> None:
    path = _recipe_file(tmp_path / 'r.yaml')
    changes = ['seed=7', 'jitter.hue=0', 'stages.decoder.epochs=5', 'stages.encoder.crop=[96, 64]', 'hold_out=[0006R0]']
    changed = read_recipe(path, changes)
    assert changed.seed == 7 and changed.jitter.hue == 0 and changed.hold_out == ('0006R0',)
    assert changed.stages[1].epochs == 5 and changed.stages[0].crop == (96, 64)
    assert changed.stages[1].crop == RECIPE.stages[1].crop


@pytest.mark.parametrize(('change', 'reason'), [
    ('seed', 'write KEY=VALUE'),
    ('seed=[', 'write KEY=VALUE'),
    ('sed=1', 'no key sed there; choose from .*seed'),
    ('stages.decode.epochs=1', 'no part decode; choose from encoder, decoder'),
    ('stages.decoder.epoch=1', 'no key epoch there; choose from .*epochs'),
    ('stages.decoder=1', 'no key decoder there'),
    ('seed.x=1', 'no part seed'),
    ('stages.decoder.epochs=0', 'epochs 0'),
    ('seed=many', 'seed'),
])
def test_a_wrong_change_is_refused_in_one_line(change: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason) as caught:
        read_recipe(_recipe_file(tmp_path / 'r.yaml'), [change])
    assert '\n' not in str(caught.value)


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
    for nothing_or_everything in ('x', 'train'):
        with pytest.raises(DatasetError, match=r'choose what the names of some begin with'):
            names(hold_out=(nothing_or_everything,))
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


# One process or one of several, without what chance and normalisation by each process's own share make of it: then the steps
# must be the same. Leaves behind how far the last stage moved the parameters of every process.
_PROCESS = """
import os, sys, torch
from enet_ros.cli.main import main
from enet_ros.training import loop
loop.augment = lambda images, labels, *_: (images.float() / 255, labels)
on_fit_end = loop.SegmentationTask.on_fit_end
def flat(task):
    return torch.cat([parameter.detach().flatten() for parameter in task.network.parameters()])
def freeze(task):
    task.network.eval()
    if task.current_epoch == 0:
        task.before = flat(task)
def keep(task):
    torch.save(flat(task) - task.before, f"{sys.argv[1]}.{os.environ.get('RANK', '0')}")
    on_fit_end(task)
loop.SegmentationTask.on_train_epoch_start = freeze
loop.SegmentationTask.on_fit_end = keep
sys.exit(main(sys.argv[2:]))
"""


def test_two_processes_train_as_one_does(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(train=10)
    for sample in dataset.samples('train')[::3]:  # batches whose halves have unequal weights
        write_image(sample.labels_path, np.where(np.arange(64)[:, None] < 40, np.uint8(VOID), sample.read()[1]))
    (tmp_path / 'process.py').write_text(_PROCESS)
    changes = ({'epochs': 1}, {'epochs': 6, 'learning_rate': 4e-3})
    stages = [{**dataclasses.asdict(stage), 'crop': (96, 64), **change} for stage, change in zip(RECIPE.stages, changes)]
    config = _recipe_file(tmp_path / 'r.yaml', batch_size=4, stages=stages)
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
    with pytest.raises(TrainingError, match=r'install g\+\+, or train without --compile'):
        train(drawn_dataset(), RECIPE, tmp_path / 'run', compiled=True)
    assert not (tmp_path / 'run').exists()

def test_a_folder_with_a_run_is_not_overwritten(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1),))
    train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match='--resume'):
        train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match=r'another recipe.*recipe\.last_kernel, 3 there and 2 here'):
        train(dataset, dataclasses.replace(recipe, last_kernel=2), tmp_path / 'run', True)
    for name in ('last.ckpt', 'best.ckpt'):
        whole = (tmp_path / 'run' / 'decoder' / name).read_bytes()
        (tmp_path / 'run' / 'decoder' / name).write_bytes(b'cut off')
        with pytest.raises(TrainingError, match=rf'{name} is damaged: remove the folder .*decoder'):
            train(dataset, recipe, tmp_path / 'run', True)
        (tmp_path / 'run' / 'decoder' / name).write_bytes(whole)
    (tmp_path / 'run' / 'run.json').unlink()
    with pytest.raises(TrainingError, match=r'decoder is there, but no .*run.json'):
        train(dataset, recipe, tmp_path / 'run')


def test_the_best_epoch_stays_the_best_when_a_run_is_moved_and_resumed(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=2, learning_rate=5e-3)
    train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), tmp_path / 'run')
    # say that the best epoch, which was the first, was better than any can be; and that the stage has more epochs
    best = tmp_path / 'run' / 'decoder' / 'best.ckpt'
    for path in (best, tmp_path / 'run' / 'decoder' / 'last.ckpt'):
        checkpoint = torch.load(path, weights_only=True)
        state = next(state for name, state in checkpoint['callbacks'].items() if 'val_mean_iou' in name)
        state['best_k_models'] = dict.fromkeys(state['best_k_models'], torch.tensor(2.0))
        state['best_model_score'] = state['kth_value'] = torch.tensor(2.0)
        torch.save(checkpoint, path)
    before = best.read_bytes()
    shutil.move(tmp_path / 'run', tmp_path / 'moved')
    run = tmp_path / 'moved' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 2', '"epochs": 4'))
    train(dataset, dataclasses.replace(RECIPE, stages=(dataclasses.replace(stage, epochs=4),)), tmp_path / 'moved', True)
    assert len(read_history(tmp_path / 'moved' / 'decoder').mean_iou) == 4
    assert (tmp_path / 'moved' / 'decoder' / 'best.ckpt').read_bytes() == before


def test_the_last_epoch_is_validated_whatever_the_rhythm(drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=5)
    train(drawn_dataset(), dataclasses.replace(RECIPE, validate_every=2, stages=(stage,)), tmp_path / 'run')
    assert [epoch for epoch, _ in read_history(tmp_path / 'run' / 'decoder').mean_iou] == [2, 4, 5]


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=1)
    train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), tmp_path / 'run')
    run = tmp_path / 'run' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 1', '"epochs": 3'))
    last = tmp_path / 'run' / 'decoder' / 'last.ckpt'
    before = last.read_bytes()
    stages = [dataclasses.asdict(dataclasses.replace(stage, epochs=3))]
    config = _recipe_file(tmp_path / 'r.yaml', stages=stages)
    # a limit of the size of files stands in for a full disk; Python ignores the signal that would come with it
    limited = 'import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); ' \
              'from enet_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    done = subprocess.run(
        [sys.executable, '-c', limited, 'train', '--data', str(dataset.root), '--config', str(config),
         '--out', str(tmp_path / 'run'), '--resume'], capture_output=True, text=True,
    )
    assert done.returncode == 1 and f'cannot write {last}' in done.stderr and 'Traceback' not in done.stderr, done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob('.*'))  # nothing half-written




def test_a_label_that_is_no_class_is_named(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    path = dataset.samples('train')[2].labels_path
    write_image(path, np.full((64, 96), 50, np.uint8))
    with pytest.raises(DatasetError, match=f'{path} holds label id 50'):
        train(dataset, RECIPE, tmp_path / 'run', False)
    assert not (tmp_path / 'run').exists()  # mended, the same command may be given again


def test_a_loss_that_is_not_finite_stops_the_run_which_goes_on_at_a_lower_rate(
    drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset()

    def recipe(rate: float) -> Recipe:
        return dataclasses.replace(
            RECIPE, stages=(RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], learning_rate=rate))
        )

    with pytest.raises(TrainingError, match=r'stage decoder, epoch \d, step \d+ \(samples train\d.*lower learning_rate'):
        train(dataset, recipe(1e30), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'model.safetensors').exists()
    assert (tmp_path / 'run' / 'encoder' / 'last.ckpt').exists()
    shutil.rmtree(tmp_path / 'run' / 'decoder')
    model = read_model(train(dataset, recipe(1e-3), tmp_path / 'run', True))
    assert model.info.recipe['stages'][1]['learning_rate'] == 1e-3
    assert max(rate for _, rate in read_history(tmp_path / 'run' / 'decoder').learning_rate) <= 1e-3


def test_a_lower_rate_is_used_from_the_middle_of_a_stage_on(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=2)
    train(dataset, dataclasses.replace(RECIPE, warmup_epochs=0.0, schedule='poly', stages=(stage,)), tmp_path / 'run')
    run = tmp_path / 'run' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 2', '"epochs": 4'))
    lower = dataclasses.replace(stage, epochs=4, learning_rate=1e-5)
    train(dataset, dataclasses.replace(RECIPE, warmup_epochs=0.0, schedule='poly', stages=(lower,)), tmp_path / 'run', True)
    rates = [rate for _, rate in read_history(tmp_path / 'run' / 'decoder').learning_rate]
    assert min(rates[:2]) > 1e-4 and max(rates[2:]) < 1e-5


def test_weights_that_are_not_finite_never_replace_a_checkpoint(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    recipe = dataclasses.replace(RECIPE, batch_size=6, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1),))
    train(dataset, recipe, tmp_path / 'run')
    last = tmp_path / 'run' / 'decoder' / 'last.ckpt'
    checkpoint = torch.load(last, weights_only=True)
    checkpoint['state_dict']['network.decoder.fullconv.bias'][0] = math.nan
    with pytest.raises(TrainingError, match=r'fullconv.bias is not finite after step 1, .*last.ckpt is as it was'):
        _WholeCheckpoints().save_checkpoint(checkpoint, last)
    assert math.isfinite(torch.load(last, weights_only=True)['state_dict']['network.decoder.fullconv.bias'][0])


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=['killed', 'interrupted', 'terminated'])
def test_a_run_that_was_stopped_resumes_to_the_same_weights(
    how: signal.Signals, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset(train=12)
    stages = (RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], epochs=12))
    recipe = dataclasses.replace(RECIPE, stages=stages)
    whole = read_model(train(dataset, recipe, tmp_path / 'whole', False))

    config = _recipe_file(tmp_path / 'r.yaml', stages=[dataclasses.asdict(stage) for stage in stages])
    command = [sys.executable, '-m', 'enet_ros.cli.main', 'train', '--data', str(dataset.root), '--config', str(config),
               '--out', str(tmp_path / 'stopped')]
    with open(tmp_path / 'log', 'wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        checkpoint = tmp_path / 'stopped' / 'decoder' / 'last.ckpt'
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(0.1)  # into the midst of an epoch
        process.send_signal(how)
        process.wait()
    said = (tmp_path / 'log').read_text()
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL, said
    else:
        assert process.returncode == 1 and f'stopped by {how.name}: go on with --resume' in said, said
        assert 'Traceback' not in said
    resumed = read_model(train(dataset, recipe, tmp_path / 'stopped', True))
    # it went on, and did not start anew: the finished stage has no further epoch, the other none of the first
    assert not _epochs(tmp_path / 'stopped' / 'encoder' / 'log' / 'version_1')
    assert 0 < min(_epochs(tmp_path / 'stopped' / 'decoder' / 'log' / 'version_1')) < 12
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], values, name)


def test_a_stopped_run_has_saved_the_very_step(drawn_dataset: Make, tmp_path: Path) -> None:
    # an epoch that would take minutes: what is saved at its end alone would not be there
    config = _recipe_file(tmp_path / 'r.yaml', batch_size=1, stages=_stage(epochs=1))
    dataset = drawn_dataset(train=400)
    out = tmp_path / 'run'
    with open(tmp_path / 'log', 'wb') as log:
        process = subprocess.Popen(
            [sys.executable, '-m', 'enet_ros.cli.main', 'train', '--data', str(dataset.root), '--config', str(config),
             '--out', str(out)], stdout=log, stderr=log,
        )
        while b'Epoch 0:   1%' not in (tmp_path / 'log').read_bytes() and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        process.wait()
    assert process.returncode == 1, (tmp_path / 'log').read_text()
    assert 0 < torch.load(out / 'decoder' / 'last.ckpt', weights_only=True)['global_step'] < 400


def _epochs(log: Path) -> list[int]:
    """Return the epochs that a log holds the loss of."""
    path = log / 'metrics.csv'
    if not path.exists():
        return []
    with open(path, newline='') as file:
        return [int(row['epoch']) for row in csv.DictReader(file) if row.get('loss')]

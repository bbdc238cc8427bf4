from __future__ import annotations

import csv
import dataclasses
import math
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
from enet_ros.files import write_image
from enet_ros.labels import VOID
from enet_ros.network.load import load_network
from enet_ros.network.model_file import read_model
from enet_ros.training.augmentation import augment
from enet_ros.training.loop import TrainingError, train
from enet_ros.training.losses import class_weights, segmentation_loss
from enet_ros.training.recipe import Recipe, RecipeError, Stage, read_recipe

Make = Callable[..., Dataset]

RECIPE = Recipe(
    size=(96, 64), batch_size=3, weight_decay=2e-4, brightness=0.2, precision='32-true', seed=3, validate_every=1,
    decoder_activation='prelu', decoder_dropout=0.1, last_kernel=3,
    stages=(
        Stage('encoder', 'encoder', 1, 1e-3, (64, 64), (0.5, 1.5), 1.2),
        Stage('decoder', 'enet', 2, 1e-3, (64, 64), (0.5, 1.5), 1.02),
    ),
)


def test_class_weights_are_those_of_the_paper() -> None:
    weights = class_weights([900, 100, 0], 1.02)
    expected = [1 / math.log(1.02 + share) for share in (0.9, 0.1, 0)]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-5)
    assert 50 < weights[2] < 51  # "in the interval of [1, 50]"


def test_the_loss_ignores_void_and_weighs_classes() -> None:
    scores = torch.tensor([[[[2.0, 0.0, 9.0]], [[0.0, 1.0, -9.0]]]])
    labels = torch.tensor([[[0, 1, VOID]]], dtype=torch.uint8)
    weights = torch.tensor([1.0, 3.0])
    first, second = math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))
    assert segmentation_loss(scores, labels, weights).item() == pytest.approx((first + 3 * second) / 4)


def test_the_loss_of_nothing_but_void_is_zero_and_has_a_gradient() -> None:
    scores = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((1, 2, 2), VOID, dtype=torch.uint8), torch.ones(2))
    loss.backward()
    assert loss.item() == 0 and scores.grad is not None and not scores.grad.any()


def test_augmentation_moves_image_and_labels_together() -> None:
    # an image that shows its own label ids: whatever the view, each pixel must still carry its label
    labels = torch.arange(8, dtype=torch.uint8).repeat_interleave(8).repeat(64, 1)[None].repeat(16, 1, 1)
    images = (labels * 30)[:, None].repeat(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    views, ids = augment(images, labels, (48, 40), (0.5, 2.0), 0.0, generator)
    assert views.shape == (16, 3, 40, 48) and ids.shape == (16, 40, 48) and ids.dtype == torch.uint8
    known = ids != VOID
    # bilinear sampling mixes neighbours at the borders between ids, by half an id at the most
    difference = (views[:, 0] * 255 / 30 - ids.float()).abs()[known]
    assert (difference < 0.05).float().mean() > 0.7 and difference.median() < 1e-3
    assert len({tuple(row.tolist()) for row in ids[:, 20]}) > 8  # views differ


def test_augmentation_is_as_exact_under_mixed_precision() -> None:
    images = torch.randint(0, 256, (4, 3, 60, 480), dtype=torch.uint8)
    labels = torch.zeros(4, 60, 480, dtype=torch.uint8)
    plain = augment(images, labels, (240, 40), (0.5, 1.5), 0.2, torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16):
        mixed = augment(images, labels, (240, 40), (0.5, 1.5), 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(plain[0], mixed[0]) and torch.equal(plain[1], mixed[1])


def test_augmentation_makes_the_outside_black_and_void() -> None:
    images, labels = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8), torch.zeros(4, 32, 32, dtype=torch.uint8)
    views, ids = augment(images, labels, (64, 64), (1.0, 1.0), 0.0, torch.Generator().manual_seed(0))
    assert (ids == VOID).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert set(ids.unique().tolist()) == {0, VOID}
    assert not views.permute(0, 2, 3, 1)[ids == VOID].gt(0.8).any()


def test_the_packages_recipes_can_be_read() -> None:
    for path in (ROOT / 'config' / 'train').glob('*.yaml'):
        assert read_recipe(path).stages[-1].network == 'enet'


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
    ({'stages': _stage(network='segnet')}, 'network'),
    ({'stages': _stage() * 2}, 'one name'),
    ({'stages': _stage(crop=[60, 64])}, 'crop of stage decoder is 60x64'),
    ({'stages': _stage(epochs=0)}, 'epochs 0'),
    ({'stages': _stage(learning_rate=-1.0)}, 'learning_rate -1.0'),
    ({'stages': _stage(scale=[2.0, 1.0])}, r'scale is \[2.0, 1.0\]'),
    ({'stages': _stage(class_weight_constant=1.0)}, 'class_weight_constant is 1.0'),
    ({'precision': 'fp8'}, 'precision'),
    ({'decoder_dropout': 1.5}, 'decoder_dropout is 1.5'),
    ({'brightness': 1.0}, 'brightness 1.0'),
    ({'weight_decay': float('nan')}, 'weight_decay nan'),
    ({'stages': _stage(name='../x')}, r'stage name "../x"'),
], ids=str)
def test_a_wrong_recipe_is_refused_in_one_line(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason) as caught:
        read_recipe(_recipe_file(tmp_path / 'r.yaml', **changes))
    assert str(tmp_path / 'r.yaml') in str(caught.value) and '\n' not in str(caught.value)


def test_training_lowers_the_loss_and_writes_a_model_that_loads(drawn_dataset: Make, tmp_path: Path) -> None:
    stage = dataclasses.replace(RECIPE.stages[1], epochs=20, learning_rate=5e-3)
    recipe = dataclasses.replace(RECIPE, stages=(RECIPE.stages[0], stage), validate_every=20)
    path = train(drawn_dataset(), recipe, tmp_path / 'run', False)
    model = read_model(path)
    load_network(model)
    assert model.info.training_size == (96, 64) and model.info.dataset == 'drawn' and model.info.recipe['seed'] == 3
    with open(tmp_path / 'run' / 'decoder' / 'log' / 'version_0' / 'metrics.csv', newline='') as file:
        losses = [float(row['loss']) for row in csv.DictReader(file) if row['loss']]
    assert len(losses) == 20 and losses[-1] < 0.8 * losses[0]


def test_a_folder_with_a_run_is_not_overwritten(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1),))
    train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match='--resume'):
        train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match='another recipe'):
        train(dataset, dataclasses.replace(recipe, last_kernel=2), tmp_path / 'run', True)
    (tmp_path / 'run' / 'decoder' / 'last.ckpt').write_bytes(b'cut off')
    with pytest.raises(TrainingError, match=r'last.ckpt is damaged: remove it'):
        train(dataset, recipe, tmp_path / 'run', True)


def test_a_label_that_is_no_class_is_named(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    path = dataset.samples('train')[2].labels_path
    write_image(path, np.full((64, 96), 50, np.uint8))
    with pytest.raises(DatasetError, match=f'{path} holds label id 50'):
        train(dataset, RECIPE, tmp_path / 'run', False)
    assert not (tmp_path / 'run').exists()  # mended, the same command may be given again


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(drawn_dataset: Make, tmp_path: Path) -> None:
    stages = (RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], learning_rate=1e30))
    with pytest.raises(TrainingError, match=r'stage decoder, epoch 0, step \d+ \(samples \['):
        train(drawn_dataset(), dataclasses.replace(RECIPE, stages=stages), tmp_path / 'run', False)
    assert not (tmp_path / 'run' / 'model.safetensors').exists()


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT], ids=['killed', 'interrupted'])
def test_a_run_that_was_stopped_resumes_to_the_same_weights(
    how: signal.Signals, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset()
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
        process.send_signal(how)
        process.wait()
    said = (tmp_path / 'log').read_text()
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL, said
    else:
        assert process.returncode == 1 and 'stopped in stage decoder: go on with --resume' in said, said
        assert 'Traceback' not in said
    resumed = read_model(train(dataset, recipe, tmp_path / 'stopped', True))
    # it went on, and did not start anew: the finished stage has no further epoch, the other none of the first
    assert not _epochs(tmp_path / 'stopped' / 'encoder' / 'log' / 'version_1')
    assert 0 < min(_epochs(tmp_path / 'stopped' / 'decoder' / 'log' / 'version_1')) < 12
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], values, name)


def _epochs(log: Path) -> list[int]:
    """Return the epochs that a log holds the loss of."""
    path = log / 'metrics.csv'
    if not path.exists():
        return []
    with open(path, newline='') as file:
        return [int(row['epoch']) for row in csv.DictReader(file) if row.get('loss')]

"""Runs that begin with the weights of a model file."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recipes import RECIPE, recipe_file

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.labels import CAMVID
from enet_ros.network.load import make_network
from enet_ros.network.model_file import ModelFile, read_model, write_model
from enet_ros.training.errors import TrainingError
from enet_ros.training.loop import train

Make = Callable[..., Dataset]

STEADY = dataclasses.replace(RECIPE, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1, learning_rate=1e-9),))
"""Trains without going anywhere: what comes out is what went in."""
LAST_LAYER = 'decoder.fullconv.weight'
PROJECTION = 'encoder.down1.branch.0.convolution.weight'


def _close(first: ModelFile, second: ModelFile, name: str) -> bool:
    return np.allclose(first.weights[name], second.weights[name], atol=1e-6)


@pytest.fixture
def begun(drawn_dataset: Make, tmp_path: Path) -> ModelFile:
    """Return a model of random weights for the classes of `drawn_dataset`."""
    model = read_model(train(drawn_dataset(), STEADY, tmp_path / 'begun'))
    weights = {name: np.random.default_rng(3).normal(size=values.shape).astype(np.float32) if values.ndim > 1 else values
               for name, values in model.weights.items()}
    write_model(tmp_path / 'begun.safetensors', model.info, weights)
    return read_model(tmp_path / 'begun.safetensors')


def test_a_run_begins_with_the_weights_and_names_them(drawn_dataset: Make, begun: ModelFile, tmp_path: Path) -> None:
    model = read_model(train(drawn_dataset(), STEADY, tmp_path / 'run', start=begun))
    assert all(_close(model, begun, name) for name in begun.weights if begun.weights[name].ndim > 1)
    origin = model.info.recipe['weights']
    assert model.info.license == 'free'
    assert origin['sha256'] == begun.sha256 and origin['recipe'] == begun.info.recipe and origin['dataset'] == 'drawn'


@pytest.mark.parametrize('count', [2, len(CAMVID)], ids=['fewer classes', 'as many under other names'])
def test_for_other_classes_the_last_layer_begins_anew(
    count: int, drawn_dataset: Make, begun: ModelFile, tmp_path: Path
) -> None:
    names = tuple(f'class {number}' for number in range(count))
    labels = dataclasses.replace(CAMVID, names=names, colors=CAMVID.colors[:count])
    weights = {name: np.zeros(tensor.shape, np.float32) + (tensor.ndim > 1)
               for name, tensor in make_network(STEADY.architecture(count)).state_dict().items() if tensor.ndim}
    info = dataclasses.replace(begun.info, labels=labels, architecture=STEADY.architecture(count),
                               dataset='elsewhere', license='for research alone')
    write_model(tmp_path / 'other.safetensors', info, weights)
    other = read_model(tmp_path / 'other.safetensors')
    model = read_model(train(drawn_dataset(), STEADY, tmp_path / 'run', start=other))
    assert _close(model, other, PROJECTION)
    assert model.info.license == 'free; begun with weights from elsewhere: for research alone'
    assert model.weights[LAST_LAYER].shape[1] == len(CAMVID) and not np.allclose(model.weights[LAST_LAYER], 1)


def test_a_model_of_another_network_is_refused(drawn_dataset: Make, begun: ModelFile, tmp_path: Path) -> None:
    recipe = dataclasses.replace(STEADY, decoder_activation='relu', decoder_dropout=0.0)
    with pytest.raises(TrainingError, match=r'begun.safetensors has decoder_activation prelu and the recipe relu'):
        train(drawn_dataset(), recipe, tmp_path / 'run', start=begun)
    segnet = dataclasses.replace(RECIPE.stages[1], network='segnet')
    with pytest.raises(TrainingError, match=r'has network enet and the recipe segnet'):
        train(drawn_dataset(), dataclasses.replace(RECIPE, stages=(segnet,)), tmp_path / 'run', start=begun)
    centred = dataclasses.replace(begun, info=dataclasses.replace(begun.info, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(TrainingError, match=r'takes images less mean \(0.5, 0.5, 0.5\)'):
        train(drawn_dataset(), STEADY, tmp_path / 'run', start=centred)
    assert not (tmp_path / 'run').exists()


def test_a_run_resumes_without_the_model_that_it_began_with(
    drawn_dataset: Make, begun: ModelFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = recipe_file(tmp_path / 'r.yaml', stages=[dataclasses.asdict(stage) for stage in STEADY.stages])
    command = ['train', '--data', str(drawn_dataset().root), '--out', str(tmp_path / 'run')]
    assert main([*command, '--config', str(config), '--weights', str(begun.path)]) == 0
    shutil.rmtree(tmp_path / 'run' / 'decoder')  # as if it had been killed before the first checkpoint
    begun.path.unlink()
    assert main([*command, '--resume']) == 0
    assert _close(read_model(tmp_path / 'run' / 'model.safetensors'), begun, PROJECTION)
    capfd.readouterr()
    assert main([*command, '--resume', '--weights', str(tmp_path / 'run' / 'model.safetensors')]) == 1
    assert 'the first difference is weights' in capfd.readouterr().err
    assert main([*command, '--resume', '--weights', 'none.safetensors']) == 1
    assert 'no model file none.safetensors' in capfd.readouterr().err

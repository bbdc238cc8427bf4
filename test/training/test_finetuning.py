"""Runs that begin with the weights of a model file."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import make_model
from recipes import RECIPE, recipe_file

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.model_file import ModelFile, read_model, write_model
from enet_ros.training.loop import train

Make = Callable[..., Dataset]

LAST = dataclasses.replace(RECIPE.stages[1], epochs=1, learning_rate=1e-9)
STEADY = dataclasses.replace(RECIPE, stages=(LAST,))
"""Trains without going anywhere: what comes out is what went in, except for the statistics of the normalisations."""


def _differing(model: ModelFile, start: ModelFile) -> set[str]:
    """Return the layers that `model` has not kept of `start`."""
    return {name.rpartition('.')[0] for name, values in start.weights.items() if '.running_' not in name
            and (values.shape != model.weights[name].shape or not np.allclose(values, model.weights[name], atol=1e-6))}


@pytest.fixture
def start(tmp_path: Path) -> ModelFile:
    """Return a model for the classes of `drawn_dataset` without dropout, which STEADY has."""
    return read_model(make_model(tmp_path / 'start.safetensors', seed=5, decoder_dropout=0.0))


@pytest.mark.parametrize('stages', [(LAST,), (dataclasses.replace(RECIPE.stages[0], learning_rate=1e-9), LAST)],
                         ids=['the whole network', 'its encoder first'])
def test_a_run_begins_with_the_weights_and_names_them(
    stages: tuple[object, ...], drawn_dataset: Make, start: ModelFile, tmp_path: Path
) -> None:
    model = read_model(train(drawn_dataset(), dataclasses.replace(STEADY, stages=stages), tmp_path / 'run', start=start))
    assert not _differing(model, start)
    assert model.info.begun_with == {'sha256': start.sha256, 'dataset': 'none', 'recipe': {'seed': 5}, 'begun_with': {}}
    assert model.info.license == 'free; begun with weights from none: untrained'


def test_segnet_begins_with_weights_too(drawn_dataset: Make, tmp_path: Path) -> None:
    start = read_model(make_model(tmp_path / 's.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    recipe = dataclasses.replace(STEADY, stages=(dataclasses.replace(LAST, network='segnet'),))
    assert not _differing(read_model(train(drawn_dataset(), recipe, tmp_path / 'run', start=start)), start)


@pytest.mark.parametrize('count', [2, len(CAMVID)], ids=['fewer classes', 'as many under other names'])
def test_for_other_classes_the_last_layer_begins_anew(
    count: int, drawn_dataset: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    model = read_model(make_model(tmp_path / 's.safetensors'))
    labels = dataclasses.replace(CAMVID, names=tuple(map(str, range(count))), colors=CAMVID.colors[:count])
    info = dataclasses.replace(model.info, labels=labels, architecture=STEADY.architecture(count))
    last = ('decoder.fullconv.weight', 'decoder.fullconv.bias')
    few = {name: values[:, :count] if values.ndim > 1 else values[:count]
           for name, values in model.weights.items() if name in last}
    write_model(tmp_path / 'other.safetensors', info, model.weights | few)
    other = read_model(tmp_path / 'other.safetensors')
    trained = read_model(train(drawn_dataset(), STEADY, tmp_path / 'run', start=other))
    assert _differing(trained, other) == {'decoder.fullconv'}
    assert 'its classes are others, so the last layer began anew' in caplog.text


def test_a_model_of_another_network_is_refused_before_images_are_read(
    drawn_dataset: Make, start: ModelFile, tmp_path: Path
) -> None:
    dataset = drawn_dataset()
    shutil.rmtree(dataset.root / 'train')  # it would be told, if it were read
    relu = dataclasses.replace(STEADY, decoder_activation='relu')
    with pytest.raises(TrainingError, match=r'start.safetensors has decoder_activation prelu and the recipe relu'):
        train(dataset, relu, tmp_path / 'run', start=start)
    segnet = read_model(make_model(tmp_path / 's.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    with pytest.raises(TrainingError, match=r's.safetensors has network segnet and the recipe enet'):
        train(dataset, STEADY, tmp_path / 'run', start=segnet)
    centred = dataclasses.replace(start, info=dataclasses.replace(start.info, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(TrainingError, match=r'takes images less mean \(0.5, 0.5, 0.5\)'):
        train(dataset, STEADY, tmp_path / 'run', start=centred)
    assert not (tmp_path / 'run').exists()


@pytest.fixture
def begun(drawn_dataset: Make, start: ModelFile, tmp_path: Path) -> list[str]:
    """Return the command of a run that began with `start` and was killed before its first checkpoint."""
    config = recipe_file(tmp_path / 'r.yaml', stages=[dataclasses.asdict(LAST)])
    command = ['train', '--data', str(drawn_dataset().root), '--out', str(tmp_path / 'run')]
    assert main([*command, '--config', str(config), '--weights', str(start.path)]) == 0
    shutil.rmtree(tmp_path / 'run' / 'decoder')
    return command


def test_a_run_resumes_without_the_model_that_it_began_with(
    begun: list[str], start: ModelFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start.path.unlink()
    capfd.readouterr()
    assert main([*begun, '--resume']) == 0
    assert 'last layer began anew' not in capfd.readouterr().err
    assert main([*begun, '--resume']) == 0
    assert 'stage decoder is finished' in capfd.readouterr().err
    assert not _differing(read_model(tmp_path / 'run' / 'model.safetensors'), start)
    capfd.readouterr()
    assert main(['info', str(tmp_path / 'run' / 'model.safetensors')]) == 0
    assert f'begun with   model {start.sha256[:16]}, trained on none' in capfd.readouterr().out


def test_a_model_names_all_that_it_came_of(
    begun: list[str], start: ModelFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*begun, '--resume']) == 0
    first = read_model(tmp_path / 'run' / 'model.safetensors')
    second = [*begun[:-1], str(tmp_path / 'second'), '--config', str(tmp_path / 'r.yaml'), '--weights', str(first.path)]
    assert main(second) == 0
    model = tmp_path / 'second' / 'model.safetensors'
    assert [link['sha256'] for link in read_model(model).info.lineage()] == [first.sha256, start.sha256]
    capfd.readouterr()
    assert main(['info', str(model)]) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith('begun with')]
    assert lines == [f'begun with   model {first.sha256[:16]}, trained on drawn',
                     f'begun with   model {start.sha256[:16]}, trained on none']


def test_what_a_resumed_run_lacks_is_named(
    begun: list[str], start: ModelFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = make_model(tmp_path / 'other.safetensors')
    checkpoint = tmp_path / 'best.ckpt'
    checkpoint.write_bytes(b'PK' * 100)
    copy = tmp_path / 'run' / 'start.safetensors'
    copy.write_bytes(copy.read_bytes()[:-100])
    assert main([*begun, '--resume']) == 1
    assert f'{copy} is damaged: give --weights' in capfd.readouterr().err
    copy.unlink()
    for more, reason in (
        ([], f'{copy} is gone: give --weights, the model file that the run began with; its sha256 is {start.sha256}'),
        (['--weights', str(other)], 'the first difference is begun_with'),
        (['--weights', 'none.safetensors'], 'no model file none.safetensors'),
        (['--weights', str(tmp_path)], f'{tmp_path} is a folder: give the model file in it'),
    ):
        assert main([*begun, '--resume', *more]) == 1
        assert reason in capfd.readouterr().err
    assert main([*begun[:-1], str(tmp_path / 'none'), '--resume']) == 1
    assert 'there is no run to resume in' in capfd.readouterr().err
    assert main([*begun[:-1], str(tmp_path / 'none'), '--config', str(tmp_path / 'r.yaml'), '--weights',
                 str(checkpoint)]) == 1
    assert 'is a checkpoint of a training' in capfd.readouterr().err
    assert main([*begun, '--resume', '--weights', str(start.path)]) == 0
    assert main([*begun, '--resume']) == 0


def test_a_new_run_does_not_take_what_an_old_one_began_with(begun: list[str], start: ModelFile, tmp_path: Path) -> None:
    (tmp_path / 'run' / 'run.json').unlink()
    anew = [*begun, '--config', str(tmp_path / 'r.yaml')]
    assert main(anew) == 0
    assert not (tmp_path / 'run' / 'start.safetensors').exists()
    model = read_model(tmp_path / 'run' / 'model.safetensors')
    assert not model.info.begun_with and _differing(model, start)
    assert main([*anew, '--resume']) == 0

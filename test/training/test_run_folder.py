from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, make_model
from recipes import RECIPE

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.training.recipe import read_recipe
from enet_ros.training.run_folder import find_recipe, find_weights, identify_run, is_run, write_identity


@pytest.fixture
def start(tmp_path: Path) -> ModelFile:
    return read_model(make_model(tmp_path / 'start.safetensors'))


@pytest.fixture
def out(dataset: Dataset, start: ModelFile, tmp_path: Path) -> Path:
    """Return the folder of a run that started with `start`, without its stages."""
    folder = tmp_path / 'run'
    write_identity(folder, identify_run(folder, RECIPE, dataset, False, start), start)
    return folder


def test_a_folder_with_a_run_is_not_overwritten(out: Path, dataset: Dataset, start: ModelFile) -> None:
    assert is_run(out) and not is_run(out.parent)
    with pytest.raises(TrainingError, match=f'{out} already holds a run: add --resume'):
        identify_run(out, RECIPE, dataset, False, start)
    identify_run(out, RECIPE, dataset, True, start)


def test_a_folder_of_a_stage_without_a_run_is_not_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    for name in ('decoder', 'model.safetensors'):
        (tmp_path / name).mkdir()
        with pytest.raises(TrainingError, match=rf'{name} exists without .*run\.json'):
            identify_run(tmp_path, RECIPE, dataset, False, None)
        (tmp_path / name).rmdir()


@pytest.mark.parametrize('what', ['recipe', 'dataset', 'weights'])
def test_another_run_is_not_resumed(what: str, out: Path, dataset: Dataset, start: ModelFile, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, last_kernel=2) if what == 'recipe' else RECIPE
    pixels = {**dataset.pixels, 'val': [1] * 11}
    other = dataclasses.replace(dataset, pixels=pixels) if what == 'dataset' else dataset
    weights = read_model(make_model(tmp_path / 'other.safetensors', seed=1)) if what == 'weights' else start
    difference = {'recipe': 'recipe.last_kernel is 3 there and 2 here', 'dataset': 'pixels.val', 'weights': 'begun_with'}
    with pytest.raises(TrainingError, match=f'another recipe or dataset.*{difference[what]}'):
        identify_run(out, recipe, other, True, weights)


def test_a_run_with_other_samples_is_not_resumed(drawn_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset, out = drawn_dataset(), tmp_path / 'run'
    write_identity(out, identify_run(out, RECIPE, dataset, False, None), None)
    run = json.loads((out / 'run.json').read_text())
    assert (run['samples']['train'], run['samples']['val']) == (6, 2)
    removed = dataset.samples('train')[0]  # by hand: dataset.yaml stays as it is
    for path in (removed.image_path, removed.labels_path):
        path.unlink()
    with pytest.raises(TrainingError, match=r'samples\.train is 6 there and 5 here'):
        identify_run(out, RECIPE, dataset, True, None)
    del run['samples']  # as an earlier version wrote it
    (out / 'run.json').write_text(json.dumps(run))
    identify_run(out, RECIPE, dataset, True, None)


def test_a_difference_is_one_line_whatever_the_names_hold(out: Path, dataset: Dataset, start: ModelFile) -> None:
    with pytest.raises(TrainingError, match=r'dataset is drawn there and two\\nlines here') as raised:
        identify_run(out, RECIPE, dataclasses.replace(dataset, name='two\nlines'), True, start)
    assert len(str(raised.value).splitlines()) == 1


def test_a_resumed_run_may_have_another_learning_rate(out: Path, dataset: Dataset, start: ModelFile) -> None:
    stages = tuple(dataclasses.replace(stage, learning_rate=1e-6) for stage in RECIPE.stages)
    identify_run(out, dataclasses.replace(RECIPE, stages=stages), dataset, True, start)


@pytest.mark.parametrize(
    'content',
    [b'', b'[]', b'null', b'"run"', b'{"begun_with": "', b'\xff\xfe', b'{}', b'{"recipe": 1}',
     b'{"recipe": {"stages": [1]}}', b'{"recipe": {"stages": 1}}', b'{"recipe": {"stages": []}, "begun_with": 5}',
     b'[' * 100_000],
    ids=['empty', 'list', 'null', 'text', 'cut', 'not-utf8', 'nothing', 'recipe', 'stage', 'stages', 'begun-with', 'nested'],
)
def test_a_damaged_run_json_is_named_with_the_remedy(
    content: bytes, out: Path, dataset: Dataset, start: ModelFile
) -> None:
    path = out / 'run.json'
    path.write_bytes(content)
    message = f'{path} is damaged.*: restore it from a copy, or train in another folder'
    with pytest.raises(TrainingError, match=message):
        find_weights(out)
    with pytest.raises(TrainingError, match=message):
        identify_run(out, RECIPE, dataset, True, start)


def test_the_recipe_in_use_can_be_read_again(out: Path) -> None:
    assert read_recipe(out / 'recipe.yaml') == RECIPE
    assert yaml.safe_load((out / 'recipe.yaml').read_text())['size'] == [96, 64]


def test_the_weights_that_a_run_started_with_are_kept(out: Path, start: ModelFile, tmp_path: Path) -> None:
    kept = find_weights(out)
    assert kept == out / 'start.safetensors' and kept.read_bytes() == start.path.read_bytes()
    assert find_weights(tmp_path / 'none') is None


def test_missing_or_damaged_weights_are_named_with_their_hash(out: Path, start: ModelFile) -> None:
    copy = out / 'start.safetensors'
    copy.write_bytes(copy.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=f'{copy} is damaged: add --weights'):
        find_weights(out)
    copy.unlink()
    with pytest.raises(TrainingError, match=f'{copy} is missing: add --weights.*{start.sha256}'):
        find_weights(out)


def test_a_new_run_does_not_use_the_weights_of_an_old_one(out: Path, dataset: Dataset) -> None:
    (out / 'run.json').unlink()
    write_identity(out, identify_run(out, RECIPE, dataset, True, None), None)
    assert not (out / 'start.safetensors').exists() and find_weights(out) is None
    assert json.loads((out / 'run.json').read_text())['begun_with'] is None


def test_weights_that_change_while_images_are_read_are_refused(dataset: Dataset, start: ModelFile, tmp_path: Path) -> None:
    identity = identify_run(tmp_path / 'run', RECIPE, dataset, False, start)
    make_model(start.path, seed=9)
    with pytest.raises(TrainingError, match=r'start.safetensors changed'):
        write_identity(tmp_path / 'run', identity, start)
    assert not is_run(tmp_path / 'run')


def test_the_recipe_is_the_given_one_or_the_runs_or_the_packages(out: Path, dataset: Dataset, tmp_path: Path) -> None:
    camvid = dataclasses.replace(dataset, name='camvid')
    assert find_recipe(out, tmp_path / 'own.yaml', camvid, True) == tmp_path / 'own.yaml'
    assert find_recipe(out, None, camvid, True) == out / 'recipe.yaml'
    assert find_recipe(out, None, camvid, False).read_bytes() == (ROOT / 'config' / 'train' / 'camvid.yaml').read_bytes()


def test_without_a_recipe_the_remedy_is_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r'no run to resume in .*--out'):
        find_recipe(tmp_path, None, dataset, True)
    with pytest.raises(TrainingError, match=r'no recipe for dataset "drawn": add --config.*finetune\.yaml'):
        find_recipe(tmp_path, None, dataset, False)

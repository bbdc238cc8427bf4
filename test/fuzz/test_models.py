"""Model files, and the files of a training run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzz_inputs import damaged, json_files, reads, values, yaml_files
from helpers import draw_dataset, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import RECIPE, recipe_file
from safetensors.numpy import save

from enet_ros.datasets.prepared import Dataset
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.network.registry import load_network
from enet_ros.parsing import read_yaml
from enet_ros.training.checkpoints import AtomicCheckpoints, read_checkpoint
from enet_ros.training.history import read_history
from enet_ros.training.recipe import read_recipe
from enet_ros.training.run_folder import find_weights, identify_run, write_identity

_FEWER = settings(max_examples=settings.default.max_examples // 2)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return draw_dataset(tmp_path_factory.mktemp('dataset'))


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return read_model(make_model(tmp_path_factory.mktemp('model') / 'model.safetensors'))


def _metadata(contents: bytes) -> dict[str, str]:
    """Return the metadata of a model file without its digest, which would refuse everything before other checks see it."""
    end = 8 + int.from_bytes(contents[:8], 'little')
    metadata: dict[str, str] = json.loads(contents[8:end])['__metadata__']
    del metadata['digest']
    return metadata


def _check_model(path: Path) -> None:
    """Read a model file as the segmenter does, and check what it takes from it."""
    found = reads(lambda: read_model(path))
    if found is None:
        return
    info = found.info
    assert len(info.labels) == info.architecture.classes and all(side % 8 == 0 for side in info.training_size)
    assert all(np.isfinite(weight).all() for weight in found.weights.values())
    if network := reads(lambda: load_network(found)):
        assert sum(weight.size for weight in found.weights.values()) <= sum(map(torch.numel, network.state_dict().values()))


@_FEWER
@given(data=st.data())
def test_a_damaged_model_file_is_read_or_refused(data: st.DataObject, model: ModelFile, path: Path) -> None:
    contents = save(model.weights, _metadata(model.path.read_bytes()))
    path.write_bytes(data.draw(damaged(contents, 30_000)))
    _check_model(path)


@_FEWER
@given(data=st.data())
def test_a_model_file_with_other_metadata_is_read_or_refused(data: st.DataObject, model: ModelFile, path: Path) -> None:
    metadata = _metadata(model.path.read_bytes())
    for key in data.draw(st.lists(st.sampled_from(sorted(metadata)), min_size=1, max_size=3, unique=True)):
        try:
            value = json.loads(metadata[key])
        except ValueError:
            value = metadata[key]
        metadata[key] = data.draw(json_files(value)).decode(errors='replace')
    path.write_bytes(save(model.weights, metadata))
    _check_model(path)


@_FEWER
@given(data=st.data())
def test_a_model_file_with_other_weights_is_read_or_refused(data: st.DataObject, model: ModelFile, path: Path) -> None:
    weights: dict[str, Any] = dict(model.weights)
    shapes = st.lists(st.sampled_from((0, 1, 2, 3, 1000)), max_size=3).filter(lambda shape: math.prod(shape) <= 1e6)
    names = sorted(weights)
    for name in data.draw(st.lists(st.sampled_from(names), max_size=3)):
        kind = data.draw(st.sampled_from(('f4', 'f4', 'f4', 'f8', 'f2', 'u1', 'i8', '?')))
        number = data.draw(st.sampled_from((0, 1, -1e38, 1e38, float('inf'), float('-inf'), float('nan'))))
        with np.errstate(all='ignore'):
            shape = data.draw(st.just(weights[name].shape) | shapes)
            weights[name] = np.full(shape, number, 'f4').astype(kind)
    for name in data.draw(st.just([]) | st.lists(st.sampled_from(names), max_size=2, unique=True)):
        weights[data.draw(st.text(max_size=5))] = weights.pop(name)
    path.write_bytes(save(weights, _metadata(model.path.read_bytes())))
    _check_model(path)


@given(data=st.data())
def test_a_damaged_checkpoint_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / 'last.ckpt'
    weights = torch.arange(1000.)
    AtomicCheckpoints().save_checkpoint({'global_step': 7, 'state_dict': {'weight': weights}}, path)
    path.write_bytes(data.draw(damaged(path.read_bytes(), 1000)))
    found = reads(lambda: read_checkpoint(path))
    assert found is None or (found['global_step'] == 7 and torch.equal(found['state_dict']['weight'], weights))


@given(data=st.data())
def test_the_description_of_a_run_is_read_or_refused(data: st.DataObject, dataset: Dataset, tmp_path: Path) -> None:
    identity = identify_run(tmp_path / 'none', RECIPE, dataset, False, None)
    write_identity(tmp_path, identity, None)
    (tmp_path / 'run.json').write_bytes(data.draw(json_files(json.loads(identity))))
    reads(lambda: find_weights(tmp_path))
    reads(lambda: identify_run(tmp_path, RECIPE, dataset, True, None))


@given(data=st.data(), change=st.text(max_size=30) | st.tuples(
    st.sampled_from(('seed', 'size', 'stages', 'stages.decoder.epochs', 'jitter.hue', 'x.y', '.')), values
).map(lambda pair: f'{pair[0]}={pair[1]}'))
def test_a_recipe_is_read_or_refused(data: st.DataObject, change: str, path: Path) -> None:
    fields = read_yaml(recipe_file(path))
    path.write_bytes(data.draw(yaml_files(fields)))
    if recipe := reads(lambda: read_recipe(path)):
        assert all(stage.epochs > 0 for stage in recipe.stages)
    recipe_file(path)
    reads(lambda: read_recipe(path, [change]))


_LOG = b'epoch,learning_rate,loss,step,val_mean_iou\n0,0.1,3.0,1,\n0,,,1,0.25\n1,0.2,2.0,3,\n'


@given(content=damaged(_LOG))
def test_a_log_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    log = tmp_path / 'log' / 'version_0' / 'metrics.csv'
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(content)
    if history := reads(lambda: read_history(tmp_path)):
        assert all(isinstance(value, float) for _, value in history.loss)

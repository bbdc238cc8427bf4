from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model
from safetensors import safe_open
from safetensors.numpy import save_file

from enet_ros.errors import ModelFileError
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.model_file import read_model, write_model
from enet_ros.network.registry import load_network

Parts = tuple[dict[str, str], dict[str, np.ndarray]]


def test_reading_a_model_file_returns_what_was_written(tmp_path: Path) -> None:
    path = make_model(tmp_path / 'm.safetensors', decoder_activation='relu', last_kernel=2)
    model = read_model(path)
    assert model.info.labels == CAMVID
    assert model.info.training_size == (96, 64)
    assert (model.info.architecture.decoder_activation, model.info.architecture.last_kernel) == ('relu', 2)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    network = load_network(model)
    assert not network.training
    write_model(tmp_path / 'again.safetensors', model.info, model.weights)
    again = load_network(read_model(tmp_path / 'again.safetensors'))
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values()))


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors'))
    written = set()
    for _ in range(5):  # the library orders metadata at random
        write_model(tmp_path / 'again.safetensors', model.info, model.weights)
        written.add((tmp_path / 'again.safetensors').read_bytes())
    assert written == {model.path.read_bytes()}


def test_the_card_of_the_shipped_model_has_the_digests_of_its_files() -> None:
    models = Path(__file__).parents[2] / 'models'
    card = (models / 'README.md').read_text()
    for name in ('enet_camvid.safetensors', 'enet_camvid.onnx'):
        assert f'sha256 of `{name}`: `{hashlib.sha256((models / name).read_bytes()).hexdigest()}`' in card
    assert f'"sha256": "{hashlib.sha256((models / "enet_camvid.onnx").read_bytes()).hexdigest()}"' in json.dumps(
        read_model(models / 'enet_camvid.safetensors').graph
    )


def _lacks(key: str) -> Callable[[Parts], None]:
    return lambda parts: parts[0].pop(key) and None


def _says(key: str, value: object) -> Callable[[Parts], None]:
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda parts: parts[0].update({key: text})


def _weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Parts], None]:
    return lambda parts: parts[1].update({name: change(parts[1][name])})


LAST = 'decoder.fullconv.weight'
FEWER = [list(color) for color in CAMVID.colors[:-1]]
DAMAGES = {
    'no format': (_lacks('format'), 'written by another program'),
    'a later version': (_says('format_version', '3'), 'format_version is 3, .* 1 and 2'),
    'bgr': (_says('channel_order', 'bgr'), 'channel_order is "bgr"'),
    **{f'no {key}': (_lacks(key), f'lacks "{key}"') for key in (
        'architecture', 'class_names', 'class_colors', 'mean', 'std', 'training_size', 'dataset', 'metrics', 'recipe',
        'license',
    )},
    'invalid JSON': (_says('mean', '[0, 0'), '"mean" is not JSON'),
    'nested JSON': (_says('recipe', '[' * 200 + ']' * 200), '"recipe" is not JSON .*more than 100 levels'),
    'a number of 5000 digits': (_says('metrics', '1' * 5000), '"metrics" is not JSON'),
    'fewer names': (_says('class_names', CAMVID.names[:-1]), 'colours'),
    'fewer classes': (
        lambda parts: parts[0].update(class_names=json.dumps(CAMVID.names[:-1]), class_colors=json.dumps(FEWER)),
        '10 class names for a network with 11',
    ),
    'unknown option': (_says('architecture', {'network': 'enet', 'classes': 11, 'width': 2}), 'width'),
    'wrong option': (_says('architecture', {'network': 'enet', 'classes': 11, 'last_kernel': 7}), 'last_kernel is 7'),
    'no network': (_says('architecture', {'classes': 11}), 'network "None" is unknown, .* enet, segnet'),
    'unknown network': (_says('architecture', {'network': 'unet', 'classes': 11}), 'network "unet" is unknown'),
    'architecture as list': (_says('architecture', [11]), 'metadata is invalid'),
    'another network': (_says('architecture', {'network': 'segnet', 'classes': 11}), 'lacks weight classifier.bias'),
    'too small for the network': (
        lambda parts: parts[0].update(architecture='{"network": "segnet", "classes": 11}', training_size='[96, 24]'),
        r'training_size is \[96, 24\]: .* multiples of 8, at least 32, for example 96x32',
    ),
    'a network named in version 1': (_says('format_version', '1'), 'network'),
    'a long version of two lines': (_says('format_version', '"9\n' + '9' * 5000 + '"'), 'format_version'),
    'size of 5': (_says('training_size', [5, 8]), r'training_size is \[5, 8\].* multiples of 8'),
    'size of one': (_says('training_size', [8]), r'training_size is \[8\].* two integers'),
    'size of text': (_says('training_size', ['a', 'b']), 'two integers'),
    'size of fractions': (_says('training_size', [96.0, 64.0]), 'two integers'),
    'a fraction of classes': (_says('architecture', {'network': 'enet', 'classes': 11.0}), 'classes is 11.0'),
    'a class without name': (_says('class_names', [*CAMVID.names[:-1], 5]), 'class name 5 '),
    'a start as list': (_says('begun_with', ['x']), 'begun_with must have sha256'),
    'a start with a recipe of text': (
        _says('begun_with', {'sha256': '0', 'dataset': 'x', 'recipe': 'x'}), 'begun_with must have sha256',
    ),
    'a start with an incomplete start': (
        _says('begun_with', {'sha256': '0', 'dataset': 'x', 'recipe': {}, 'begun_with': {'sha256': '1'}}),
        'begun_with must have sha256',
    ),
    'recipe as null': (_says('recipe', None), 'recipe must be a mapping'),
    'splits as number': (_says('recipe', {'splits': 5}), 'recipe must be a mapping in which splits and hold_out'),
    'a start with a number to hold out': (
        _says('begun_with', {'sha256': '0', 'dataset': 'x', 'recipe': {'hold_out': [1]}}), 'recipe must be a mapping',
    ),
    'metrics as list': (_says('metrics', []), 'metrics'),
    'two means': (_says('mean', [0, 0]), r'mean is \[0, 0\]'),
    'zero std': (_says('std', [1, 0, 1]), r'std is \[1, 0, 1\]'),
    'half weights': (_weight(LAST, lambda w: w.astype(np.float16)), f'{LAST} is float16'),
    'NaN': (_weight(LAST, lambda w: w * np.nan), f'{LAST} has NaN'),
    'a missing weight': (lambda parts: parts[1].pop(LAST) is None or None, f'lacks weight {LAST}'),
    'an unknown weight': (lambda parts: parts[1].update(extra=np.zeros(1, np.float32)), 'has weight extra'),
    'another shape': (_weight(LAST, lambda w: w[:, :5].copy()), r'\[16, 5, 3, 3\]'),
}


@pytest.mark.parametrize('kind', DAMAGES)
def test_an_incomplete_or_contradictory_file_is_refused_with_the_reason(
    kind: str, small_model: Path, tmp_path: Path
) -> None:
    damage, reason = DAMAGES[kind]
    with safe_open(small_model, 'np') as file:
        metadata = {key: value for key, value in file.metadata().items() if key != 'digest'}  # as from an older version
        parts = (metadata, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    damage(parts)
    path = tmp_path / 'damaged.safetensors'
    save_file(parts[1], path, parts[0])
    with pytest.raises(ModelFileError, match=reason) as caught:
        load_network(read_model(path))
    assert str(path) in str(caught.value) and '\n' not in str(caught.value) and len(str(caught.value)) < 1000


def test_files_of_version_1_are_read_as_enet(small_model: Path, tmp_path: Path) -> None:
    with safe_open(small_model, 'np') as file:
        metadata = {**file.metadata(), 'format_version': '1', 'architecture': '{"classes": 11, "decoder_dropout": 0.2}'}
        del metadata['digest']
        save_file({name: file.get_tensor(name) for name in file.keys()}, tmp_path / 'old.safetensors', metadata)  # noqa: SIM118
    model = read_model(tmp_path / 'old.safetensors')
    assert model.info.architecture == ENetArchitecture(11, decoder_dropout=0.2)
    load_network(model)


@pytest.mark.parametrize('content', [b'', b'not a model', b'\xff' * 100])
def test_a_file_without_safetensors_content_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r'x.safetensors is damaged'):
        read_model(path)


def test_a_flipped_bit_changes_nothing_or_is_refused(small_model: Path, tmp_path: Path) -> None:
    contents, before = small_model.read_bytes(), read_model(small_model)
    path, random, refused = tmp_path / 'm.safetensors', np.random.default_rng(3), 0
    ends = [8 + int.from_bytes(contents[:8], 'little'), len(contents)]  # in the header, and anywhere
    for place in [int(random.integers(end)) for end in ends for _ in range(50)]:
        damaged = bytearray(contents)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            after = read_model(path)
        except ModelFileError:
            refused += 1
            continue
        assert (after.info, after.graph, after.weights.keys()) == (before.info, before.graph, before.weights.keys()), place
        assert all(np.array_equal(after.weights[name], values) for name, values in before.weights.items()), place
    assert refused >= 95
    damaged = bytearray(contents)
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match=r'm\.safetensors: damaged: .* get an undamaged copy'):
        read_model(path)


def test_a_truncated_file_is_refused(small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    path.write_bytes(small_model.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match=r'damaged'):
        read_model(path)


def test_a_file_that_blocks_or_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with (tmp_path / 'large').open('wb') as file:
        file.truncate(2**40)
    for name, reason in (('pipe', 'not a regular file'), ('large', 'more than 1073741824'), ('/dev/zero', 'not a regular'),
                         ('x\0', 'no model file')):
        with pytest.raises(ModelFileError, match=reason):
            read_model(tmp_path / name)


def test_a_model_file_is_on_disk_when_it_is_written(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, flushed = read_model(small_model), []
    monkeypatch.setattr(os, 'fsync', lambda handle: flushed.append(os.readlink(f'/proc/self/fd/{handle}')))
    write_model(tmp_path / 'm.safetensors', model.info, model.weights)
    assert flushed[-1] == str(tmp_path)


def test_a_path_can_start_with_the_home_folder(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    shutil.copy(small_model, tmp_path / 'mine.safetensors')
    assert read_model(Path('~/mine.safetensors')).path == tmp_path / 'mine.safetensors'
    with pytest.raises(ModelFileError, match=f'no model file {tmp_path}/none: '):
        read_model(Path('~/none'))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r'no model file .*none'):
        read_model(tmp_path / 'none')
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        read_model(tmp_path)


@pytest.mark.parametrize(('name', 'remedy'), [('x.onnx', 'the .safetensors file'), ('x.ckpt', 'model.safetensors')])
def test_a_file_of_another_kind_is_refused_with_what_to_use(name: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b'another format')
    with pytest.raises(ModelFileError, match=f'{name} is .*{remedy}'):
        read_model(tmp_path / name)

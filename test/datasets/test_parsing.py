from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from enet_ros.datasets.parsing import parsing, read_json, read_yaml, text_of
from enet_ros.errors import DatasetError, EnetError


@pytest.mark.parametrize(('read', 'content'), [
    (read_json, b'{'), (read_yaml, b'a: [\n'), (read_json, b'\xff'), (read_yaml, b'\xff'), (read_yaml, b'day: 2025-13-45'),
    (read_json, b'[' * 5000), (read_yaml, b'[' * 5000), (read_yaml, b'a: !!timestamp x'), (read_yaml, b'a: &a [*a]'),
    (read_json, b'[]'), (read_yaml, b'- 1'), (read_yaml, b''), (read_yaml, b'text'),
], ids=['bad JSON', 'bad YAML', 'JSON not UTF-8', 'YAML not UTF-8', 'bad date',
        'nested JSON', 'nested YAML', 'bad tag', 'alias', 'JSON list', 'YAML list', 'empty', 'text'])
def test_a_file_without_keys_is_one_line_with_path_and_remedy(
    read: Callable[[Path, str], dict[str, Any]], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / 'file').write_bytes(content)
    with pytest.raises(DatasetError, match=r'/file.*; write it again$') as caught:
        read(tmp_path / 'file', 'write it again')
    assert '\n' not in str(caught.value)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'file.yaml'
    path.write_text('a: {b: 1, c: 2}\nd: {b: 1,\n  "b": 2}\n')
    with pytest.raises(DatasetError, match=r'key "b" occurs twice, last in line 3; write it again$'):
        read_yaml(path, 'write it again')
    path.write_text('a: &base {b: 1}\nd: {<<: *base, b: 2}\n1: x\n"1": y\n')
    assert read_yaml(path, 'write it again') == {'a': {'b': 1}, 'd': {'b': 2}, 1: 'x', '1': 'y'}


@pytest.mark.parametrize('read', [read_json, read_yaml], ids=['JSON', 'YAML'])
def test_a_file_that_is_nested_too_deeply_or_is_not_a_file_is_one_line(
    read: Callable[[Path, str], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / 'deep').write_text('{"a":' * 100_000 + '1' + '}' * 100_000)
    os.mkfifo(tmp_path / 'pipe')
    for name, reason in (('deep', 'more than 100 levels'), ('pipe', 'not a regular file'), ('x\0', 'null')):
        with pytest.raises(DatasetError, match=rf'cannot read .*/{name}: .*{reason}.*; write it again$') as caught:
            read(tmp_path / name, 'write it again')
        assert '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'cannot read .*none.json: No such file'):
        read_json(tmp_path / 'none.json', 'write it again')


@pytest.mark.parametrize('use', [
    lambda fields: fields['points'] + 1, lambda fields: fields['points'].x, lambda fields: int(fields['name']),
    lambda fields: fields['points'][5], lambda fields: np.int32(fields['size']), lambda fields: np.zeros((10**9, 10**9)),
    lambda fields: cv2.circle(np.zeros((1, 1, 9, 9)), (0, 0), 1, 1), lambda fields: text_of(fields, 'size'),
], ids=['TypeError', 'AttributeError', 'ValueError', 'IndexError', 'OverflowError', 'MemoryError', 'cv2.error', 'not text'])
def test_a_value_that_cannot_be_used_is_one_line_with_place_and_remedy(use: Callable[[dict[str, Any]], object]) -> None:
    fields = {'points': [1], 'name': 'a\nb', 'size': 10**20}
    with pytest.raises(DatasetError, match=r'^a.json is not valid: .*; export it again$') as caught, \
            parsing('a.json', 'export it again'):
        use(fields)
    assert '\n' not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DatasetError, match=r"^a.json lacks 'points': export it again$"), \
            parsing('a.json', 'export it again'):
        {}['points']


def test_an_error_that_names_the_file_is_not_changed() -> None:
    with pytest.raises(DatasetError, match=r'^a.json has no area$'), parsing('a.json', 'export it again'):
        raise DatasetError('a.json has no area')
    with pytest.raises(DatasetError, match=r'^a.json is not valid: 0 class names'), parsing('a.json', 'export it again'):
        raise EnetError('0 class names')

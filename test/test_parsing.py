from __future__ import annotations

import os
from pathlib import Path

import pytest
from resource_limits import memory_limit

from enet_ros.parsing import parse_json, parse_yaml, read_json, read_yaml


@pytest.mark.parametrize('text', [
    '[' * 99 + ']' * 99, '{"a": [1, {"b": null}]}', '1', '"x"', '[]',
], ids=['99 levels', 'mixed', 'number', 'text', 'empty'])
def test_json_is_also_yaml_and_read_alike(text: str) -> None:
    assert parse_json(text) == parse_json(text.encode()) == parse_yaml(text)


@pytest.mark.parametrize('count', [102, 5_000, 200_000])
@pytest.mark.parametrize(('start', 'middle', 'end'), [
    ('[', '', ']'), ('[', '', ''), ('{"a":', '1', '}'), ('[[[1,2],', '', ']]'),
], ids=['lists', 'open lists', 'mappings', 'lists with values'])
def test_deep_json_and_yaml_are_refused(start: str, middle: str, end: str, count: int) -> None:
    text = start * count + middle + end * count
    for parse in (parse_json, parse_yaml):
        with pytest.raises(ValueError, match=r'more than 100 levels|Expecting value'):
            parse(text)


def test_indented_yaml_is_refused_where_it_is_too_deep() -> None:
    with pytest.raises(ValueError, match='more than 100 levels'):
        parse_yaml('\n'.join(f'{" " * depth}a:' for depth in range(1000)))


BOMB = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{name}: &{name} [{", ".join([f"*{before}"] * 9)}]\n' for before, name in zip('abcdefgh', 'bcdefghi', strict=True))
MERGED = 'a: &a {x: 1, y: 2}\n' + ''.join(
    f'{name}: &{name} {{<<: [{", ".join([f"*{before}"] * 9)}]}}\n'
    for before, name in zip('abcdefgh', 'bcdefghi', strict=True))


@pytest.mark.parametrize('text', [BOMB, MERGED], ids=['lists', 'merged mappings'])
def test_aliases_that_expand_to_gigabytes_are_refused(text: str) -> None:
    assert len(text) < 500
    with memory_limit(100 * 2**20), pytest.raises(ValueError, match='more than 200000 values'):
        parse_yaml(text)


def test_an_alias_in_itself_is_refused() -> None:
    with pytest.raises(ValueError, match='alias refers to the value'):
        parse_yaml('a: &a [*a]')


def test_ordinary_aliases_are_read() -> None:
    assert parse_yaml('a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}')['c'] == {'x': [1, 2], 'y': 3}


@pytest.mark.parametrize('text', [
    '!!float ""', '!!bool x', '!!timestamp x', '!!int []', '!!python/name:os.system', '{[]: 1}', 'a: 1\na: 2', '\0', '*a',
    '9999-99-99',
], ids=['float', 'bool', 'timestamp', 'int', 'python', 'list as key', 'key twice', 'NUL', 'no anchor', 'date'])
def test_values_that_yaml_does_not_define_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r'\A[^\n]+\Z'):
        parse_yaml(text)


def test_files_that_block_or_are_not_text_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\xff')
    with (tmp_path / 'large').open('wb') as file:
        file.truncate(2**40)
    for read in (read_json, read_yaml):
        for name, reason in (('pipe', 'regular file'), ('large', 'more than'), ('x\0', 'null'), ('binary', 'decode')):
            with pytest.raises((OSError, ValueError), match=reason):
                read(tmp_path / name)

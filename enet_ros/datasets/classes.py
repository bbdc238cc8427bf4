"""The classes file: what the labels of one's own data mean. docs/datasets.md describes it with an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from enet_ros.datasets.coding import Coding
from enet_ros.errors import DatasetError, EnetError
from enet_ros.labels import VOID, LabelSet

_KEYS = {'name', 'source', 'license', 'classes', 'void', 'rest'}
_CLASS_KEYS = {'name', 'color', 'from'}


@dataclass(frozen=True)
class Classes:
    """A classes file that was read."""

    name: str
    source: str
    license: str
    labels: LabelSet
    coding: Coding
    """Of label images."""
    names: Mapping[str, int]
    """Of annotations: the class id (255 = void) that each class name in them stands for."""
    rest: int
    """The class id (255 = void) of pixels that no annotation covers."""
    text: str
    """The file as it is."""


def read_classes(path: Path) -> Classes:
    """Read a classes file.

    Raises:
        DatasetError: the file cannot be read, or lacks or contradicts something.

    """
    try:
        text = path.read_text(encoding='utf-8')
        fields = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f'cannot read {path}: {" ".join(str(error).split())}') from error
    try:
        return _classes(fields, text)
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: add it') from error
    except (TypeError, AttributeError, EnetError) as error:
        raise DatasetError(f'{path} is wrong: {error}') from error


def _classes(fields: dict[str, Any], text: str) -> Classes:
    if not isinstance(fields, dict):
        raise DatasetError('it is no mapping of keys to values: docs/datasets.md has an example')
    _check_keys(fields, _KEYS)
    for key in ('name', 'source', 'license'):
        if not isinstance(fields[key], str) or not fields[key]:
            raise DatasetError(f'{key} is {fields[key]!r}: it must be text')
    entries = fields['classes']
    for entry in entries:
        if not isinstance(entry, dict):
            raise DatasetError(f'class {entry!r} has no keys: write it like {{name: road, color: [128, 64, 128]}}')
        _check_keys(entry, _CLASS_KEYS)
    labels = LabelSet(tuple(entry['name'] for entry in entries), tuple(tuple(entry['color']) for entry in entries))
    table: dict[Any, int] = {}
    for index, (name, color) in enumerate(zip(labels.names, labels.colors)):
        given = _values(entries[index].get('from', []))
        # a class that does not say which ids, colours or names mean it is meant by its own
        for own in (index, color, name):
            for value in [value for value in given if type(value) is type(own)] or [own]:
                _claim(table, value, index, labels)
    for value in _values(fields.get('void', [])):
        _claim(table, value, VOID, labels)
    table.setdefault(VOID, VOID)
    rest = fields.get('rest', 'void')
    if rest not in ('void', *labels.names):
        raise DatasetError(f'rest is {rest!r}: choose void or a class of {", ".join(labels.names)}')
    return Classes(
        fields['name'], fields['source'], fields['license'], labels,
        Coding(
            {value: index for value, index in table.items() if isinstance(value, int)},
            {value: index for value, index in table.items() if isinstance(value, tuple)},
        ),
        {value: index for value, index in table.items() if isinstance(value, str)},
        VOID if rest == 'void' else labels.names.index(rest), text,
    )


def _check_keys(fields: dict[str, Any], allowed: set[str]) -> None:
    if unknown := sorted(set(fields.keys()) - allowed):
        raise DatasetError(f'{unknown[0]!r} is no key: choose from {", ".join(sorted(allowed))}')


def _values(listed: object) -> list[Any]:
    """Return ids (int), colours (tuple) and names (str) as they stand in a list of the file."""
    if not isinstance(listed, list):
        raise DatasetError(f'{listed!r} is no list: write ids, colours and names in [ ]')
    values = [tuple(value) if isinstance(value, list) else value for value in listed]
    for value in values:
        numbers = value if isinstance(value, tuple) else (value,)
        is_name = isinstance(value, str)
        if not is_name and not (len(numbers) in (1, 3) and all(type(n) is int and 0 <= n <= 255 for n in numbers)):
            raise DatasetError(f'{value!r} is no id (0 to 255), no colour ([red, green, blue]) and no name')
    return values


def _claim(table: dict[Any, int], value: object, index: int, labels: LabelSet) -> None:
    if table.setdefault(value, index) != index:
        first, second = ('void' if one == VOID else labels.names[one] for one in (table[value], index))
        raise DatasetError(f'{value!r} stands for both {first} and {second}: say in "from" of both which values mean them')

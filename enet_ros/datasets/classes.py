"""The classes file: what the labels of own data mean. docs/datasets.md describes it with an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.coding import Coding
from enet_ros.datasets.parsing import parsing, read_yaml, text_of
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.labels import VOID, LabelSet

_KEYS = {'name', 'source', 'license', 'classes', 'void', 'rest'}
_CLASS_KEYS = {'name', 'color', 'from'}
_REMEDY = 'correct the file (docs/datasets.md has an example)'


@dataclass(frozen=True)
class Classes:
    """The content of a classes file."""

    name: str
    source: str
    license: str
    labels: LabelSet
    coding: Coding
    """For label images."""
    names: Mapping[str, int]
    """For annotations: class name -> class id (255 = void)."""
    rest: int
    """Class id (255 = void) of pixels that no annotation covers."""
    settings: str
    """The whole content: two files with the same settings give the same labels."""

    def dataset(
        self, splits: Mapping[str, Sequence[Pair]], to_ids: Callable[[Pair, Size], NDArray[np.uint8]],
        root: Path | None = None, left_out: Sequence[DatasetError] = (), notes: Sequence[str] = (),
    ) -> SourceDataset:
        """Return a dataset with these classes."""
        return SourceDataset(
            self.name, self.labels, splits, to_ids, self.source, self.license, self.settings, root, left_out, notes
        )


def read_classes(path: Path) -> Classes:
    """Read a classes file.

    Raises:
        DatasetError: the file cannot be read, lacks something or contradicts itself.

    """
    fields = read_yaml(path, _REMEDY)
    with parsing(path, _REMEDY):
        return _classes(fields)


def _classes(fields: dict[str, Any]) -> Classes:
    _check_keys(fields, _KEYS)
    name, source, license = (text_of(fields, key) for key in ('name', 'source', 'license'))
    entries = fields['classes']
    if not isinstance(entries, list):
        raise ValueError(f'classes is {entries!r} but must be a list')
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f'class {entry!r} has no keys: write it like {{name: road, color: [128, 64, 128]}}')
        _check_keys(entry, _CLASS_KEYS)
    labels = LabelSet(tuple(entry['name'] for entry in entries), tuple(tuple(entry['color']) for entry in entries))
    table: dict[Any, int] = {}
    for index, (class_name, color) in enumerate(zip(labels.names, labels.colors)):
        given = _values(entries[index].get('from', []))
        # a class without ids, colours or names in "from" has its own
        for own in (index, color, class_name):
            for value in [value for value in given if type(value) is type(own)] or [own]:
                _claim(table, value, index, labels)
    for value in _values(fields.get('void', [])):
        _claim(table, value, VOID, labels)
    table.setdefault(VOID, VOID)
    rest = fields.get('rest', 'void')
    if rest not in ('void', *labels.names):
        raise ValueError(f'rest is {rest!r}: use void or one of {", ".join(labels.names)}')
    return Classes(
        name, source, license, labels,
        Coding(
            {value: index for value, index in table.items() if isinstance(value, int)},
            {value: index for value, index in table.items() if isinstance(value, tuple)},
        ),
        {value: index for value, index in table.items() if isinstance(value, str)},
        VOID if rest == 'void' else labels.names.index(rest), repr(fields),
    )


def _check_keys(fields: dict[str, Any], allowed: set[str]) -> None:
    if unknown := sorted(str(key) for key in fields.keys() - allowed):
        raise ValueError(f'unknown key "{unknown[0]}": use {", ".join(sorted(allowed))}')


def _values(listed: object) -> list[Any]:
    """Return a list of the file as ids (int), colours (tuple) and names (str)."""
    if not isinstance(listed, list):
        raise ValueError(f'{listed!r} is not a list: write ids, colours and names in [ ]')
    for value in listed:
        is_color = isinstance(value, list) and len(value) == 3 and all(_is_byte(number) for number in value)
        if not isinstance(value, str) and not _is_byte(value) and not is_color:
            raise ValueError(f'{value!r} is not an id (0 to 255), a colour ([red, green, blue]) or a name')
    return [tuple(value) if isinstance(value, list) else value for value in listed]


def _is_byte(value: object) -> bool:
    return type(value) is int and 0 <= value <= 255  # not bool, which is an int, too


def _claim(table: dict[Any, int], value: object, index: int, labels: LabelSet) -> None:
    """Let `value` stand for class `index`, unless it stands for another already."""
    if table.setdefault(value, index) != index:
        first, second = ('void' if one == VOID else labels.names[one] for one in (table[value], index))
        raise ValueError(f'{value!r} stands for both {first} and {second}: list the values of both classes in "from"')

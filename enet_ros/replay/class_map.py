"""What the ids and colours of ground truth mean for a model.

The file of `--class-map` is YAML. `classes` gives names to ids or colours, beside or instead of those of the bag. `map`
gives the names of the ground truth that the model calls differently; several may become one, and null means void:

    classes:
      0: Sky
      '#804080': Road
    map:
      Lane marking: Road
      Unknown: null
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.parsing import parsing, read_yaml
from enet_ros.errors import DatasetError, printable, quoted
from enet_ros.labels import VOID, Color, LabelSet

_COLOR = re.compile(r'#[0-9a-fA-F]{6}')
_LARGEST_ID = 65535
_REMEDY = 'see docs/replay.md, "Class maps"'


@dataclass(frozen=True)
class ClassMap:
    """The content of a class map file."""

    names: Mapping[int | Color, str] = field(default_factory=dict)
    """Names of ids and colours (RGB), which have priority over those of the bag."""
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    """Names of the ground truth and those of the model; None = void."""

    def as_json(self) -> dict[str, Any]:
        """Return the content for a report."""
        classes = {_key(identity): name for identity, name in self.names.items()}
        return {'classes': classes, 'map': dict(self.renamed)}


@dataclass(frozen=True)
class TruthTable:
    """The model's class id for every id and colour of ground truth, 255 = void."""

    ids: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[Color, int] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> NDArray[np.int16]:
        """Return the class id of every id up to 65535; -1 = unknown."""
        table = np.full(_LARGEST_ID + 1, -1, np.int16)
        table[list(self.ids)] = list(self.ids.values())
        return table

    @cached_property
    def by_color(self) -> NDArray[np.int16]:
        """Return the class id of every colour, red << 16 | green << 8 | blue; -1 = unknown."""
        table = np.full(1 << 24, -1, np.int16)  # 32 MiB: much faster than a search
        for (red, green, blue), index in self.colors.items():
            table[red << 16 | green << 8 | blue] = index
        return table


def read_class_map(path: Path) -> ClassMap:
    """Read the file of `--class-map`.

    Raises:
        DatasetError: the file cannot be read, or a key or value is not allowed.

    """
    fields = read_yaml(path, _REMEDY)
    with parsing(path, _REMEDY):
        if unknown := sorted(map(str, fields.keys() - {'classes', 'map'})):
            raise ValueError(f'unknown key {quoted(unknown[0])}: use classes and map')
        for key, value in fields.items():
            if not isinstance(value, dict):
                raise ValueError(f'{key} is {quoted(str(value))} but must hold keys with values; a colour needs quotes')
        names: dict[int | Color, str] = {}
        for key, name in fields.get('classes', {}).items():
            identity = _identity(key)
            if not isinstance(name, str):
                raise ValueError(f'class {quoted(str(key))} is {quoted(str(name))} but must be a name')
            if names.setdefault(identity, name) != name:
                raise ValueError(f'{_key(identity)} is both {quoted(names[identity])} and {quoted(name)}')
        renamed = fields.get('map', {})
        for name, other in renamed.items():
            if not isinstance(name, str) or not isinstance(other, str | None):
                raise ValueError(f'map has {quoted(str(name))}: {quoted(str(other))}: both must be names, or null for void')
        return ClassMap(names, renamed)


def truth_table(names: Mapping[int, str] | None, class_map: ClassMap, labels: LabelSet) -> TruthTable:
    """Return what the ground truth means for a model with the classes `labels`.

    `names` are those that the bag gives to its ids; None if it gives none. Those of `class_map` have priority. Without any
    names, ids are those of the model. 255 is void unless it has a name.

    Raises:
        DatasetError: a name is not one of the model's classes and is not mapped, or the map has a name that is not there.

    """
    known: dict[int | Color, str] = {}
    known.update((names or ({} if class_map.names else dict(enumerate(labels.names)))).items())
    known.update(class_map.names)
    truth_names = list(dict.fromkeys(known.values()))
    if unused := [name for name in class_map.renamed if name not in truth_names]:
        raise DatasetError(f'class map: {quoted(unused[0])} is not a class of the ground truth: '
                           f'use {printable(", ".join(truth_names))}')
    targets = {name: class_map.renamed.get(name, name) for name in truth_names}
    if unknown := {name: target for name, target in targets.items() if target is not None and target not in labels.names}:
        shown = ', '.join(name if name == target else f'{target} (for {name})' for name, target in unknown.items())
        unmatched = [name for name in labels.names if name not in targets.values()]
        others = f'; only in the model: {", ".join(unmatched)}' if unmatched else ''
        raise DatasetError(f'only in the ground truth: {printable(shown)}{others}: '
                           'map the names with "map" in a --class-map file')
    ids, colors = {VOID: VOID}, {}
    for identity, name in known.items():
        target = targets[name]
        number = VOID if target is None else labels.names.index(target)
        if isinstance(identity, int):
            ids[identity] = number
        else:
            colors[identity] = number
    return TruthTable(ids, colors)


def _identity(key: object) -> int | Color:
    if type(key) is int and 0 <= key <= _LARGEST_ID:  # not bool, which is an int, too
        return key
    if isinstance(key, str) and _COLOR.fullmatch(key):
        red, green, blue = bytes.fromhex(key[1:])
        return red, green, blue
    raise ValueError(f"class {quoted(str(key))} is not an id from 0 to {_LARGEST_ID} or a colour such as '#804080'")


def _key(identity: int | Color) -> str:
    return str(identity) if isinstance(identity, int) else f'#{bytes(identity).hex()}'

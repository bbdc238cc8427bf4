"""What the ids and colours of ground truth mean for a model.

The file of `--class-map` is YAML. `classes` gives names to ids or colours where the bag has none. `map` gives the names of
the ground truth that the model calls differently; several may become one, and null means void:

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
from pathlib import Path
from typing import Any

from enet_ros.datasets.parsing import read_yaml
from enet_ros.errors import DatasetError, quoted
from enet_ros.labels import VOID, Color, LabelSet

_COLOR = re.compile(r'#[0-9a-fA-F]{6}')
_LARGEST_ID = 65535
_REMEDY = 'see docs/replay.md, "Class maps"'


@dataclass(frozen=True)
class ClassMap:
    """The content of a class map file."""

    names: Mapping[int | Color, str] = field(default_factory=dict)
    """Names of ids and colours (RGB); empty = those of the bag."""
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    """Names of the ground truth and those of the model; None = void."""

    def as_json(self) -> dict[str, Any]:
        """Return the content for a report."""
        classes = {_key(identity): name for identity, name in self.names.items()}
        return {'classes': classes, 'map': dict(self.renamed)}


@dataclass(frozen=True)
class TruthTable:
    """The model's class id for every id and colour of ground truth, 255 = void."""

    ids: Mapping[int, int]
    colors: Mapping[Color, int]


def read_class_map(path: Path) -> ClassMap:
    """Read the file of `--class-map`.

    Raises:
        DatasetError: the file cannot be read, or a key or value is not allowed.

    """
    fields = read_yaml(path, _REMEDY)
    if unknown := fields.keys() - {'classes', 'map'}:
        raise DatasetError(f'{path}: unknown key {quoted(str(min(unknown, key=str)))}: use classes and map; {_REMEDY}')
    classes, renamed = (fields.get(key) or {} for key in ('classes', 'map'))
    for key, value in (('classes', classes), ('map', renamed)):
        if not isinstance(value, dict):
            raise DatasetError(f'{path}: {key} must hold keys with values; {_REMEDY}')
    for name, other in renamed.items():
        if not isinstance(name, str) or not isinstance(other, (str, type(None))):
            raise DatasetError(f'{path}: map: {name}: {other} must be the name of a class and another name, or null; '
                               f'{_REMEDY}')
    names: dict[int | Color, str] = {}
    for identity, name in classes.items():
        if not isinstance(name, str):
            raise DatasetError(f'{path}: classes: {identity}: {name} must be the name of a class; {_REMEDY}')
        names[_identity(path, identity)] = name
    return ClassMap(names, renamed)


def truth_table(names: Mapping[int, str] | None, class_map: ClassMap, labels: LabelSet) -> TruthTable:
    """Return what the ground truth means for a model with the classes `labels`.

    `names` are those that the bag gives to its ids; None if it gives none. They are not used if `class_map` has names.
    Without both, ids are those of the model.

    Raises:
        DatasetError: a name is not one of the model's classes and is not mapped.

    """
    known: dict[int | Color, str] = {**(class_map.names or names or dict(enumerate(labels.names)))}
    if unused := class_map.renamed.keys() - set(known.values()):
        raise DatasetError(f'class map: {quoted(min(unused))} is not a class of the ground truth: '
                           f'its classes are {", ".join(dict.fromkeys(known.values()))}')
    ids, colors = {VOID: VOID}, {}
    unknown = []
    for identity, name in known.items():
        target = class_map.renamed.get(name, name)
        if target is not None and target not in labels.names:
            unknown.append(name if name == target else f'{name} (mapped to {target})')
            continue
        number = VOID if target is None else labels.names.index(target)
        if isinstance(identity, int):
            ids[identity] = number
        else:
            colors[identity] = number
    if unknown:
        raise DatasetError(f'classes of the ground truth that the model does not have: {", ".join(dict.fromkeys(unknown))}; '
                           f'map them with --class-map to classes of the model: {", ".join(labels.names)}')
    return TruthTable(ids, colors)


def _identity(path: Path, identity: object) -> int | Color:
    if isinstance(identity, int) and not isinstance(identity, bool) and 0 <= identity <= _LARGEST_ID:
        return identity
    if isinstance(identity, str) and _COLOR.fullmatch(identity):
        return int(identity[1:3], 16), int(identity[3:5], 16), int(identity[5:7], 16)
    raise DatasetError(f'{path}: classes: {quoted(str(identity))} is not an id from 0 to {_LARGEST_ID} or a colour such as '
                       f"'#804080'; {_REMEDY}")


def _key(identity: int | Color) -> str:
    return str(identity) if isinstance(identity, int) else '#{:02x}{:02x}{:02x}'.format(*identity)

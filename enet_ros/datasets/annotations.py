"""What the formats of annotation tools have in common: JSON files of areas with the names of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enet_ros.errors import DatasetError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        DatasetError: the file cannot be read or holds something else.

    """
    try:
        fields = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DatasetError(f'cannot read {path}: {error}; export the annotations again') from error
    if not isinstance(fields, dict):
        raise DatasetError(f'{path} holds no JSON object: export the annotations again')
    return fields


def class_id(where: str, name: str, names: Mapping[str, int]) -> int:
    """Return the class id (255 = void) that `name` stands for; `where` says in the error which file, or part of one, has it.

    Raises:
        DatasetError: the classes file does not know the name.

    """
    if name not in names:
        raise DatasetError(f'{where} holds class "{name}", which is not in the classes file: add it there, or under void')
    return names[name]

"""What the formats of annotation tools have in common: JSON files of named areas, which are drawn into class ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.prepared import DatasetError


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


def class_id(path: Path, name: str, names: Mapping[str, int]) -> int:
    """Return the class id (255 = void) that `name` in the file `path` stands for.

    Raises:
        DatasetError: the classes file does not know the name.

    """
    if name not in names:
        raise DatasetError(f'{path} holds class "{name}", which is not in the classes file: add it there, or under void')
    return names[name]


def fill_polygon(ids: NDArray[np.uint8], points: Sequence[Sequence[float]], index: int) -> None:
    """Draw the polygon with the corners `points` (x, y in pixels) and its outline into `ids` (H x W).

    Raises:
        ValueError: a corner is no pair of numbers.

    """
    corners = np.array(points, np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise ValueError('a corner is not a number')
    corners = corners.round().astype(np.int32)
    cv2.fillPoly(ids, [corners], index)

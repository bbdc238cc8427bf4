"""What the formats of annotation tools have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import DatasetError


def class_id(where: str, name: str, names: Mapping[str, int]) -> int:
    """Return the class id (255 = void) of a class name. `where` starts the error: the file, or the part that uses the name.

    Raises:
        DatasetError: the classes file does not list the name.

    """
    if name not in names:
        raise DatasetError(f'{where} uses class "{name}", which is not in the classes file: add it to a class or to void')
    return names[name]


def check_corners(corners: NDArray[np.float64], size: Sequence[int]) -> None:
    """Check that coordinates are numbers in or near an image of `size` (height, width).

    Raises:
        ValueError: one is not a number, or is far outside, so that drawing it would overflow.

    """
    if not (np.abs(corners) <= 4 * max(size)).all():  # False for nan, too
        raise ValueError('a corner is not a number or far outside the image')


def portable_path(name: str) -> PurePosixPath:
    """Return a path from an annotation file with slashes: the file may come from Windows."""
    return PurePosixPath(PureWindowsPath(name).as_posix())

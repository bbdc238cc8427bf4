"""What the formats of annotation tools have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.source import Size
from enet_ros.errors import DatasetError, quoted

_CONTROLS = re.compile(r'[\x00-\x1f\x7f-\x9f]')  # would break the one line of an error
_NAME_LENGTH, _PATH_LENGTH = 255, 1024  # bytes; the first is the limit of Linux


def class_id(where: str, name: object, names: Mapping[str, int]) -> int:
    """Return the class id (255 = void) of a class name. `where` starts the error: the file, or the part that uses the name.

    Raises:
        DatasetError: the classes file does not list the name.

    """
    if not isinstance(name, str) or name not in names:
        shown = f'"{name}"' if str(name).isprintable() and len(str(name)) < 40 else quoted(str(name))
        raise DatasetError(f'{where} uses class {shown}, which is not in the classes file: add it to a class or to void')
    return names[name]


def check_corners(corners: NDArray[np.float64], size: Sequence[int]) -> None:
    """Check that coordinates are numbers in or near an image of `size` (height, width).

    Raises:
        ValueError: one is not a number, or is far outside, so that drawing it would overflow.

    """
    if not (np.abs(corners) <= 4 * max(size)).all():  # False for nan, too
        raise ValueError('a corner is not a number or far outside the image')


def check_declared_size(height: object, width: object, size: Size) -> None:
    """Check the height and width that an annotation file declares against those of the image, before memory is allocated.

    Raises:
        ValueError: they differ.

    """
    if (height, width) != size:
        declared = quoted(f'{width}x{height}')
        raise ValueError(f'it is for an image of {declared}, but the image has {size[1]}x{size[0]} pixels')


def portable_path(name: str) -> PurePosixPath:
    """Return a path from an annotation file with slashes: the file may come from Windows.

    Raises:
        ValueError: no file can have this path.

    """
    path = PurePosixPath(PureWindowsPath(name).as_posix())
    too_long = len(os.fsencode(name)) > _PATH_LENGTH or any(len(os.fsencode(part)) > _NAME_LENGTH for part in path.parts)
    if path.name in ('', '..') or _CONTROLS.search(name) or too_long:
        raise ValueError(f'{quoted(name)} cannot be the path of a file')
    return path


def long_name(file_name: str) -> str:
    """Return a name that includes the folders, for example day_a for day/a.jpg."""
    path = PureWindowsPath(file_name)
    return '_'.join(part for part in (*path.parts[:-1], path.stem) if part not in (path.anchor, '..'))

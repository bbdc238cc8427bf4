"""Write a file whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError

_UMASK = os.umask(0)  # can only be read by setting it: done once, before there are threads
os.umask(_UMASK)
_ORDINARY = 0o666 & ~_UMASK


def check_writable(path: Path) -> None:
    """Refuse a path that `replacing` cannot write; for calling before long work whose result is to go there.

    Raises:
        EnetError: the folder cannot be made or written, or a folder stands in the file's place.

    """
    _temporary(path).unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block succeeds and vanishes when it fails.

    The temporary name keeps the suffix, since image writers choose their format by it. Missing parents are made.

    Raises:
        EnetError: the folder cannot be made or written, or a folder stands in the file's place.

    """
    temporary = _temporary(path)
    try:
        yield temporary
        if not temporary.is_symlink():  # else it would be the mode of what the link points to
            temporary.chmod(_ORDINARY)  # mkstemp makes files private
        temporary.replace(path)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {error.strerror or error}') from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    if path.is_dir():
        raise EnetError(f'cannot write {path}: it is a folder; choose a name for the file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f'.{path.stem}-', suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {error.strerror}; choose a folder that you may write to') from error
    os.close(handle)
    return Path(name)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H x W, or H x W x 3 in BGR order, uint8) in the format that the suffix names.

    Raises:
        EnetError: the file cannot be written, or the suffix names no image format.

    """
    try:
        data = cv2.imencode(path.suffix, image)[1].tobytes()
    except cv2.error as error:
        raise EnetError(f'cannot write {path}: unknown image format "{path.suffix}"; choose .png or .jpg') from error
    with replacing(path) as temporary:
        temporary.write_bytes(data)  # cv2.imwrite would not notice that the disk is full


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON; raises EnetError when the file cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')

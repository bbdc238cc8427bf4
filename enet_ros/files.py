"""Write a file whole or not at all."""

from __future__ import annotations

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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block succeeds and vanishes when it fails.

    The temporary name keeps the suffix, since image writers choose their format by it. Missing parents are made.

    Raises:
        EnetError: the folder cannot be made or written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f'.{path.stem}-', suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {error.strerror}; choose a folder that you may write to') from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_ORDINARY)  # mkstemp makes files private
        temporary.replace(path)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {error.strerror or error}') from error
    finally:
        temporary.unlink(missing_ok=True)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H x W, or H x W x 3 in BGR order, uint8) in the format that the suffix names.

    Raises:
        EnetError: the file cannot be written, or the suffix names no image format.

    """
    with replacing(path) as temporary:
        if not cv2.imwrite(str(temporary), image):
            raise EnetError(f'cannot write {path}: disk full or unknown image format "{path.suffix}"')

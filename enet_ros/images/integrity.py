"""Detect truncated image files. OpenCV fills the missing part of a truncated JPEG with grey and only prints a warning."""

from __future__ import annotations

from pathlib import Path

from enet_ros.errors import ImageFileError, one_line
from enet_ros.files import read_bytes
from enet_ros.images.files import MAX_FILE_BYTES
from enet_ros.images.image_header import is_jpeg, is_png, is_whole


def check_whole(path: Path) -> None:
    """Check that a PNG or JPEG file is complete and that the checksums of a PNG are right. Other files are not checked.

    Raises:
        ImageFileError: the file is truncated or damaged, or cannot be read.

    """
    try:
        data = read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ImageFileError(f'cannot read {path}: {one_line(error)}') from error
    if (is_png(data) or is_jpeg(data)) and not is_whole(data):
        raise ImageFileError(f'{path} is damaged or truncated: replace it')

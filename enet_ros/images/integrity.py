"""Detect truncated image files. OpenCV fills the missing part of a truncated JPEG with grey and only prints a warning."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from enet_ros.errors import ImageFileError, one_line

_PNG_START = b'\x89PNG\r\n\x1a\n'
_JPEG_START = b'\xff\xd8'
_END_OF_IMAGE = 0xD9
# in the compressed data of a JPEG, 0xff is followed by 0 (it is data), by a restart marker, or by another 0xff
_MARKER = re.compile(rb'\xff+([^\x00\xd0-\xd7\xff])')


def check_whole(path: Path) -> None:
    """Check that a PNG or JPEG file is complete and that the checksums of a PNG are right. Other files are not checked.

    Raises:
        ImageFileError: the file is truncated or damaged, or cannot be read.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f'cannot read {path}: {one_line(error)}') from error
    if data.startswith(_PNG_START):
        whole = _png_is_whole(data)
    elif data.startswith(_JPEG_START):
        whole = _jpeg_is_whole(data)
    else:
        whole = True
    if not whole:
        raise ImageFileError(f'{path} is damaged or truncated: replace it')


def _png_is_whole(data: bytes) -> bool:
    """Follow the chunks (length, type, content, checksum) to the one that ends the image."""
    position = len(_PNG_START)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], 'big')
        if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
            return False
        if data[position + 4 : position + 8] == b'IEND':
            return True
        position = end + 4
    return False


def _jpeg_is_whole(data: bytes) -> bool:
    """Follow the segments (marker, length, content) and the compressed data to the end-of-image marker."""
    position = len(_JPEG_START)
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return True
        # skip the content: a thumbnail in it has an end-of-image marker of its own
        position += int.from_bytes(data[position : position + 2], 'big')
    return False

"""Whether an image file is whole: of a JPEG that breaks off, OpenCV makes up the rest, and only prints a warning."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from enet_ros.errors import DatasetError

_PNG_START = b'\x89PNG\r\n\x1a\n'
_JPEG_START = b'\xff\xd8'
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# in a JPEG's compressed data, 0xff is followed by 0 (a byte of the data), by a restart marker, or by a further 0xff
_MARKER = re.compile(rb'\xff+([^\x00\xd0-\xd7\xff])')


def check_whole(path: Path) -> None:
    """Refuse a PNG or JPEG file that breaks off, and a PNG with a damaged byte; other files pass.

    Raises:
        DatasetError: the file is not whole or cannot be read.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f'cannot read {path}: {error.strerror}') from error
    if data.startswith(_PNG_START):
        whole = _png_is_whole(data)
    elif data.startswith(_JPEG_START):
        whole = _jpeg_is_whole(data)
    else:
        whole = True
    if not whole:
        raise DatasetError(f'{path} is damaged or breaks off: replace it')


def _png_is_whole(data: bytes) -> bool:
    """Follow the chunks (length, type, content, checksum) up to the one that ends the image."""
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
    """Follow the segments (marker, length, content) and the compressed data after scans up to the end-of-image marker."""
    position = len(_JPEG_START)
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return True
        # stepping over the content matters: a thumbnail inside it has an end of its own
        position += int.from_bytes(data[position : position + 2], 'big')
    return False

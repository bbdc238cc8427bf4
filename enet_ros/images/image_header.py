"""The structure of PNG and JPEG data: the size of the image, read without decoding it, and whether the data is complete.

Sources: PNG specification, third edition, sections 5 and 11; ITU-T T.81 (JPEG), annex B.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from enet_ros.errors import ImageError

_PNG_START = b'\x89PNG\r\n\x1a\n'
_PNG_GREY = 0  # colour type
_JPEG_START = b'\xff\xd8'
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those three are tables and a reserved marker
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA)}
_MOST_SEGMENTS = 1000
"""Segments before the first scan. Colour profiles and metadata of real images need some hundreds at most."""
_MOST_CHUNKS = 50_000
"""Chunks of a PNG. Encoders divide the pixels into chunks of some kilobytes."""
_MOST_SCANS = 32
"""Scans of a JPEG. Usual progressive images have about 10. Each costs the time of a pass over the image, but few bytes."""


@dataclass(frozen=True)
class ImageHeader:
    """What the start of PNG or JPEG data says about the image."""

    width: int
    height: int
    grey: bool
    """It has one channel without a palette."""
    bits: int
    """Bits of each value: of a channel, or of the number of a colour in a palette."""


def is_png(data: bytes | memoryview) -> bool:
    """Return whether `data` starts as a PNG does."""
    return data[:8] == _PNG_START


def is_jpeg(data: bytes | memoryview) -> bool:
    """Return whether `data` starts as a JPEG does."""
    return data[:2] == _JPEG_START


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Return the header of PNG or JPEG data, which is neither copied nor decoded.

    Raises:
        ImageError: the data is neither PNG nor JPEG, or has no complete header.

    """
    if is_png(data):
        width, height = int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
        if data[8:16] == b'\0\0\0\rIHDR' and len(data) >= 33:
            return ImageHeader(width, height, grey=data[25] == _PNG_GREY, bits=data[24])
    elif is_jpeg(data):
        for marker, start in _jpeg_segments(data):
            if marker in _START_OF_FRAME:
                # marker and length (4 bytes), precision (1), height (2), width (2), number of channels (1)
                height = int.from_bytes(data[start + 5 : start + 7], 'big')
                width = int.from_bytes(data[start + 7 : start + 9], 'big')
                return ImageHeader(width, height, grey=data[start + 9 : start + 10] == b'\1', bits=data[start + 4])
    else:
        raise ImageError('is neither PNG nor JPEG: publish one of them')
    raise ImageError('has a damaged or incomplete header: check the camera driver and the network')


def is_whole(data: bytes) -> bool:
    """Return whether PNG or JPEG data is complete, and the checksums of a PNG are right. Bytes after its end are allowed.

    A JPEG has no checksums: damaged pixels are not found, and neither is an end-of-image marker put behind truncated data.
    """
    if is_png(data):
        return any(kind == b'IEND' for kind, _ in _png_chunks(data))
    for marker, start in _jpeg_segments(data):
        if marker == _START_OF_SCAN:
            # compressed data holds no marker but those of restarts; a thumbnail is in a segment before it
            return data.rfind(bytes((0xFF, _END_OF_IMAGE)), start) > 0
    return False


def without_metadata(data: bytes, kept: Collection[bytes] = ()) -> bytes:
    """Return complete PNG or JPEG data without what could make decoding much more expensive than its pixels are.

    A PNG loses its ancillary chunks but those of the kinds `kept`: 1.4 MB of compressed text chunks took libpng 1.4 GB and
    12 s. They also hold animations; the still image remains. Transparency is lost with them, unless tRNS is kept. The pixels
    can still be compressed data that expands to more than them, up to about 1000 times, which libpng reads to its end.

    Raises:
        ImageError: a JPEG has more scans than any real one, or a PNG more data than its pixels need.

    """
    if is_png(data):
        # bit 5 of the first letter, lower case, is set for ancillary chunks
        chunks = [(kind, chunk) for kind, chunk in _png_chunks(data) if kind in kept or not kind[0] & 0x20]
        header = read_header(data)
        most = 2 * header.height * (header.width * 4 * header.bits // 8 + 2) + 2**16  # with much overhead, RGBA
        if sum(len(chunk) for kind, chunk in chunks if kind == b'IDAT') > most:
            raise ImageError('has more compressed data than its pixels need: check the encoder')
        return _PNG_START + b''.join(chunk for _, chunk in chunks)
    if data.count(bytes((0xFF, _START_OF_SCAN))) > _MOST_SCANS:
        raise ImageError(f'has more than {_MOST_SCANS} scans: publish baseline JPEG')
    return data


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and bytes (length, kind, content, checksum) of each chunk, up to IEND, a damaged one or `_MOST_CHUNKS`."""
    view, start, kind = memoryview(data), len(_PNG_START), b''
    for _ in range(_MOST_CHUNKS):
        if start + 12 > len(data) or kind == b'IEND':
            return
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4], 'big')
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], 'big') or end > len(data):
            return
        yield kind, view[start:end]
        start = end


def _jpeg_segments(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Yield the marker and the start of every complete segment, up to the first scan or to what is not a segment.

    Decoders skip bytes between segments, and markers without content. Both are damage in this place, and following them as
    decoders do would be needed to find the same size.
    """
    start, size = len(_JPEG_START), len(data)
    for _ in range(_MOST_SEGMENTS):
        if start + 4 > size or data[start] != 0xFF:
            return
        marker = data[start + 1]
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        length = data[start + 2] * 256 + data[start + 3]  # with the two bytes of the length itself
        end = start + 2 + length
        if marker in _WITHOUT_LENGTH or length < 2 or end > size:
            return
        yield marker, start
        if marker == _START_OF_SCAN:
            return
        start = end

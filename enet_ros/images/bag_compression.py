"""Decompress parts of bags, which rosbags and mcap do without limits: 40 kB can expand to gigabytes."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from dataclasses import replace

import lz4.frame
import zstandard
from mcap.records import Chunk

from enet_ros.images.messages import MAX_PIXELS

MOST_BYTES = 8 * MAX_PIXELS + 2**24
"""Most bytes of a message or chunk: an image with MAX_PIXELS, four channels and 16 bits, and what else a chunk holds."""


def expanded(data: bytes, compression: str, size: int = MOST_BYTES) -> bytes:
    """Return what `data` expands to, which has at most `size` bytes.

    Raises:
        ValueError: it has more than `MOST_BYTES`.
        Exception: of many types, for damaged data or an unknown compression.

    """
    if compression == 'zstd':
        size = max(size, zstandard.frame_content_size(data))  # which counts, whatever the bag states
    if size > MOST_BYTES:
        raise _too_large()
    content = _DECOMPRESSORS[compression](data, size)
    if len(content) > MOST_BYTES:
        raise _too_large()
    return content


def expanded_chunk(chunk: Chunk) -> Chunk:
    """Return a chunk without compression. Its checksum is not checked.

    Raises:
        ValueError: it has more than `MOST_BYTES`, or not as many as it states.
        Exception: as in `expanded`.

    """
    data = expanded(chunk.data, chunk.compression, chunk.uncompressed_size)
    if len(data) != chunk.uncompressed_size:
        raise ValueError(f'a chunk has {len(data)} bytes instead of {chunk.uncompressed_size}')
    return replace(chunk, compression='', data=data)


def _too_large() -> ValueError:
    return ValueError(f'a message or chunk expands to more than {MOST_BYTES} bytes: leave it out with "ros2 bag convert"')


# each returns at most one byte more than `size`
_DECOMPRESSORS: dict[str, Callable[[bytes, int], bytes]] = {
    '': lambda data, _: data,
    'bz2': lambda data, size: bz2.BZ2Decompressor().decompress(data, size + 1),
    'lz4': lambda data, size: lz4.frame.LZ4FrameDecompressor().decompress(data, size + 1),
    'zstd': lambda data, size: zstandard.ZstdDecompressor().decompress(data, size),
}

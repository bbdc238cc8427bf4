"""Hostile and damaged PNG and JPEG data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence


def png(width: int, height: int, rows: int, chunks: Sequence[tuple[bytes, bytes]] = (), channels: int = 3) -> bytes:
    """Return an 8-bit PNG that states a size and holds `rows` black rows, after `chunks` (kind, content)."""
    pixels = zlib.compressobj(9)
    row = bytes(1 + width * channels)
    compressed = b''.join(pixels.compress(row) for _ in range(rows)) + pixels.flush()
    header = struct.pack('>IIBBBBB', width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    content = ((b'IHDR', header), *chunks, (b'IDAT', compressed), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(_chunk(*chunk) for chunk in content)


def text_bomb(count: int) -> bytes:
    """Return a 4x4 PNG with `count` text chunks that each expand from 7 kB to 7 MB."""
    return png(4, 4, 4, [(b'zTXt', b'key\0\0' + zlib.compress(b'a' * 7_000_000, 9))] * count)


def with_scans(progressive: bytes, count: int) -> bytes:
    """Return a progressive JPEG with its last scan `count` times more."""
    last = progressive[progressive.rindex(b'\xff\xda'):-2]
    return progressive[:-2] + last * count + progressive[-2:]


def with_frame_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Return a baseline JPEG that states another size."""
    start = jpeg.index(b'\xff\xc0') + 5
    return jpeg[:start] + struct.pack('>HH', height, width) + jpeg[start + 4:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

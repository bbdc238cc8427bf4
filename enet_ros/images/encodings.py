"""The encodings of sensor_msgs/Image that are read, and the check that a message has the bytes which its fields promise.

Names and layouts are those of sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from enet_ros.errors import ImageMessageError, quoted

_WITHOUT_COLORS = re.compile(r'(8|16|32|64)[USF](C\d+)?')  # OpenCV's types


class ImageFields(Protocol):
    """The fields of sensor_msgs/Image."""

    width: int
    height: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an encoding are stored."""

    pixel_bytes: int
    """Bytes per pixel; of the first plane if there are two."""
    block: tuple[int, int] = (1, 1)
    """Width and height of the pixels that share a colour. The size of an image must be a multiple of it."""
    smallest: int = 1
    """Smallest width and height: OpenCV makes smaller Bayer images black."""
    planar: bool = False
    """Below the plane of luma is one of colour, with half as many rows."""

    def rows(self, height: int) -> int:
        """Return the number of rows of all planes of an image with `height` pixel rows."""
        return height * 3 // 2 if self.planar else height


ENCODINGS = {
    'rgb8': Encoding(3), 'bgr8': Encoding(3), 'rgba8': Encoding(4), 'bgra8': Encoding(4), 'mono8': Encoding(1),
    'rgb16': Encoding(6), 'bgr16': Encoding(6), 'rgba16': Encoding(8), 'bgra16': Encoding(8), 'mono16': Encoding(2),
    **{name: Encoding(2, (2, 1)) for name in ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')},
    **{name: Encoding(1, (2, 2), planar=True) for name in ('nv12', 'nv21')},
    **{f'bayer_{pattern}{bits}': Encoding(bits // 8, smallest=3)
       for pattern in ('rggb', 'bggr', 'gbrg', 'grbg') for bits in (8, 16)},
}
"""All encodings that are read, by name."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Check the size of an image, in pixels.

    Raises:
        ImageMessageError: it has no pixels, or more than `max_pixels`.

    """
    if width < 1 or height < 1:
        raise ImageMessageError(f'the image has {width}x{height} pixels: check the camera driver')
    if width * height > max_pixels:
        raise ImageMessageError(f'the image has {width}x{height} pixels, more than max_pixels, {max_pixels}: '
                                "publish smaller images, or raise the node's parameter max_pixels")


def check_fields(message: ImageFields, max_pixels: int) -> Encoding:
    """Check that the fields of an Image agree with each other and with the number of its bytes. Return its encoding.

    Bytes after the last row are allowed, and the padding of the last row may be missing. Every value of `is_bigendian` but 0
    means true.

    Raises:
        ImageMessageError: the size is not allowed, the encoding is unknown or cannot have this size, the step is smaller
            than a row, or bytes are missing.

    """
    width, height, name, step = message.width, message.height, message.encoding, message.step
    check_size(width, height, max_pixels)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        reason = 'does not define colours' if _WITHOUT_COLORS.fullmatch(name[:40]) else 'is not supported'
        raise ImageMessageError(f'encoding {quoted(name)} {reason}: publish rgb8, bgr8 or mono8')
    if width % encoding.block[0] or height % encoding.block[1]:
        raise ImageMessageError(f'{width}x{height} image with encoding {quoted(name)}: its size must be a multiple of '
                                f'{encoding.block[0]}x{encoding.block[1]}')
    if min(width, height) < encoding.smallest:
        raise ImageMessageError(f'{width}x{height} image with encoding {quoted(name)}: its size must be at least '
                                f'{encoding.smallest}x{encoding.smallest}')
    row_bytes = width * encoding.pixel_bytes
    if step < row_bytes:
        raise ImageMessageError(f'{width}x{height} image with encoding {quoted(name)} and step {step}: '
                                f'step must be at least {row_bytes}')
    size, needed = len(message.data), step * (encoding.rows(height) - 1) + row_bytes
    if size < needed:
        raise ImageMessageError(f'{width}x{height} image with encoding {quoted(name)} and step {step} '
                                f'has {size} bytes instead of {needed}: it is incomplete')
    return encoding

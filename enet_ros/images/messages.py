"""Read sensor_msgs images from a topic or a bag into arrays. Any object with the fields of the message is accepted.

rgb8 and bgr8 are views without a copy. Every other encoding goes through cv_bridge where ROS installs it, or else through
rosbags-image. Rows are packed before, because neither library reads every kind of row padding.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageMessageError, one_line, quoted
from enet_ros.images.channels import ChannelOrder

PLANAR = ('nv12', 'nv21')
"""Encodings with a luma plane and, below it, a colour plane with half as many rows."""
_WITHOUT_COLORS = re.compile(r'(8|16|32|64)[USF]C\d+')  # OpenCV's types


class ImageFields(Protocol):
    """The fields of sensor_msgs/Image."""

    width: int
    height: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageFields(Protocol):
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: Any


class Converter(Protocol):
    """A library that converts image encodings."""

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes per pixel of the first plane. Raise any exception for an unknown encoding."""

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""


class CvBridgeConverter:
    """cv_bridge, which is part of every ROS distribution."""

    def __init__(self, bridge: Any = None) -> None:  # noqa: ANN401 - untyped
        """Use `bridge`, by default a new CvBridge.

        Raises:
            ImportError: cv_bridge is not installed or cannot convert, for example because it was built for another NumPy.

        """
        if bridge is None:
            from cv_bridge import CvBridge

            bridge = CvBridge()
        self._bridge = bridge
        pixel = SimpleNamespace(encoding='mono8', width=1, height=1, step=1, is_bigendian=0, data=b'\0')
        try:
            self.to_rgb(pixel)  # loads its compiled part
        except Exception as error:  # a broken library can raise anything
            raise ImportError(f'cv_bridge does not work: {one_line(error)}') from error

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes per pixel of the first plane. Raise any exception for an unknown encoding."""
        if encoding in PLANAR:
            raise ValueError('cv_bridge accepts planar encodings but does not convert them')
        dtype, channels = self._bridge.encoding_to_dtype_with_channels(encoding)
        return int(np.dtype(dtype).itemsize * channels)

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""
        rgb: NDArray[np.uint8] = self._bridge.imgmsg_to_cv2(message, 'rgb8')
        return rgb


class RosbagsConverter:
    """rosbags-image from PyPI. It reads any object with the fields of an Image."""

    def __init__(self) -> None:
        """Import the library.

        Raises:
            ImportError: rosbags-image is not installed.

        """
        from rosbags.image import image_to_cvimage

        self._convert: Any = image_to_cvimage

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes per pixel of the first plane. Raise any exception for an unknown encoding."""
        # the library has no function for this: convert one pixel
        pixel = SimpleNamespace(encoding=encoding, width=1, height=1, is_bigendian=0, data=bytes(64))
        return int(self._convert(pixel).nbytes)

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""
        rgb: NDArray[np.uint8] = self._convert(message, 'rgb8')
        return rgb


def usable_converters(candidates: Iterable[Callable[[], Converter]]) -> list[Converter]:
    """Return the converters of the `candidates` that can be imported and work, in the same order."""
    converters = []
    for candidate in candidates:
        with suppress(ImportError):
            converters.append(candidate())
    return converters


@cache  # Python repeats a failed import every time, which is slow
def _installed_converters() -> tuple[Converter, ...]:
    return tuple(usable_converters((CvBridgeConverter, RosbagsConverter)))


class ImageReader:
    """Reads image messages of any common encoding."""

    def __init__(self, converters: Sequence[Converter] | None = None) -> None:
        """Read with the first of `converters` that knows an encoding. The default is cv_bridge, then rosbags-image."""
        self._converters = converters

    def read(self, message: ImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return the image (H x W x 3, uint8) and its channel order. rgb8 and bgr8 are views of the message.

        Raises:
            ImageMessageError: the image has no pixels, an unknown encoding, or too few bytes for its size and step.

        """
        width, height, encoding, step = message.width, message.height, message.encoding, message.step
        if not width or not height:
            raise ImageMessageError(f'the image has {width}x{height} pixels: check the camera driver')
        if encoding in ('rgb8', 'bgr8'):
            rows = _rows(message, height, 3 * width)
            pixels = np.lib.stride_tricks.as_strided(rows, (height, width, 3), (step, 3, 1))
            return pixels, 'rgb' if encoding == 'rgb8' else 'bgr'
        if _WITHOUT_COLORS.fullmatch(encoding):
            raise ImageMessageError(f'encoding {quoted(encoding)} does not define colours: publish rgb8, bgr8 or mono8')
        converter, pixel_bytes = self._choose_converter(encoding)
        row_bytes = width * pixel_bytes
        lines = height * 3 // 2 if encoding in PLANAR else height
        packed = SimpleNamespace(
            encoding=encoding, width=width, height=lines, step=row_bytes,
            is_bigendian=message.is_bigendian if '16' in encoding else 0,  # some drivers set it for 8-bit encodings
            data=np.ascontiguousarray(_rows(message, lines, row_bytes)),
        )
        try:
            return converter.to_rgb(packed), 'rgb'
        except Exception as error:  # for example OpenCV, for sizes that a subsampled encoding cannot have
            raise ImageMessageError(
                f'{width}x{height} image with encoding {quoted(encoding)} cannot be converted: {one_line(error)}'
            ) from error

    def read_compressed(self, message: CompressedImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return a compressed image (JPEG or PNG) as H x W x 3, uint8, and its channel order.

        An orientation in the EXIF data is ignored: labels must match the image as other nodes see it.

        Raises:
            ImageMessageError: OpenCV cannot decode the bytes.

        """
        data = np.frombuffer(message.data, np.uint8)
        encoding = message.format.partition(';')[0].strip()  # as in "rgb8; jpeg compressed bgr8"
        is_bayer = encoding.startswith('bayer_')
        flags = cv2.IMREAD_UNCHANGED if is_bayer else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, flags) if data.size else None
        if image is None:
            raise ImageMessageError(f'compressed image of {data.size} bytes with format {quoted(message.format)} cannot be '
                                    'decoded: publish JPEG or PNG')
        if is_bayer and image.ndim == 2:  # image_transport compresses Bayer images without conversion
            height, width = image.shape
            return self.read(SimpleNamespace(width=width, height=height, encoding=encoding, step=width * image.itemsize,
                                             is_bigendian=int(sys.byteorder == 'big'), data=image.tobytes()))
        return image, 'bgr'

    def _choose_converter(self, encoding: str) -> tuple[Converter, int]:
        """Return the first converter that knows an encoding, and the bytes per pixel of its first plane."""
        converters = _installed_converters() if self._converters is None else self._converters
        if not converters:
            raise ImageMessageError(f'encoding {quoted(encoding)} needs rosbags-image: pip install rosbags-image')
        for converter in converters:
            with suppress(Exception):  # an unknown encoding; each library has its own exceptions for it
                return converter, converter.bytes_per_pixel(encoding)
        raise ImageMessageError(f'encoding {quoted(encoding)} is not supported: publish rgb8, bgr8 or mono8')


def _rows(message: ImageFields, height: int, row_bytes: int) -> NDArray[np.uint8]:
    """Return the used part of every row, `height` x `row_bytes`, as a view. The padding of the last row may be missing."""
    step = message.step
    image = f'{message.width}x{message.height} image with encoding {quoted(message.encoding)} and step {step}'
    if step < row_bytes:
        raise ImageMessageError(f'{image}: step must be at least {row_bytes}')
    data = np.frombuffer(message.data, np.uint8)
    needed = step * (height - 1) + row_bytes
    if data.size < needed:
        raise ImageMessageError(f'{image} has {data.size} bytes instead of {needed}: it is incomplete')
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1))

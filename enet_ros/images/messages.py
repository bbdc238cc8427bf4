"""Read sensor_msgs images into arrays, from a topic or from a bag: any object with the message's fields will do.

rgb8 and bgr8 are views without a copy. Every other encoding goes through cv_bridge where ROS installs it, else through
rosbags-image; neither of them reads every kind of row padding, so rows are packed here before.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageMessageError
from enet_ros.images.channels import ChannelOrder

PLANAR = ('nv12', 'nv21')
"""Encodings with a plane of luma and, below it, half as many rows of colour."""
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
    """A library that knows image encodings."""

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes of one pixel of the first plane."""

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""


class CvBridgeConverter:
    """cv_bridge, which every ROS distribution has."""

    def __init__(self) -> None:
        """Raise ImportError where cv_bridge is not installed, or cannot convert, as one built for another NumPy cannot."""
        from cv_bridge import CvBridge

        self._bridge = CvBridge()
        pixel = SimpleNamespace(encoding='mono8', width=1, height=1, step=1, is_bigendian=0, data=b'\0')
        try:
            self.to_rgb(pixel)  # its compiled part is loaded by its first use
        except Exception as error:  # whatever a library that does not fit raises
            raise ImportError(f'cv_bridge does not work: {error}') from error

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes of one pixel of the first plane."""
        dtype, channels = self._bridge.encoding_to_dtype_with_channels(encoding)
        return int(np.dtype(dtype).itemsize * channels)

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""
        rgb: NDArray[np.uint8] = self._bridge.imgmsg_to_cv2(message, 'rgb8')
        return rgb


class RosbagsConverter:
    """rosbags-image, from PyPI; it reads any object that has the fields of an Image."""

    def __init__(self) -> None:
        """Raise ImportError where rosbags-image is not installed."""
        from rosbags.image import image_to_cvimage

        self._convert: Any = image_to_cvimage

    def bytes_per_pixel(self, encoding: str) -> int:
        """Return the bytes of one pixel of the first plane, by reading an image of one pixel."""
        pixel = SimpleNamespace(encoding=encoding, width=1, height=1, is_bigendian=0, data=bytes(64))
        return int(self._convert(pixel).nbytes)

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB."""
        rgb: NDArray[np.uint8] = self._convert(message, 'rgb8')
        return rgb


@cache  # a failed import is tried anew each time, which costs on every image
def _installed_converters() -> tuple[Converter, ...]:
    """Return what is installed, cv_bridge first."""
    converters: list[Converter] = []
    for kind in (CvBridgeConverter, RosbagsConverter):
        with suppress(ImportError):
            converters.append(kind())
    return tuple(converters)


class ImageReader:
    """Reads image messages of any common encoding."""

    def __init__(self, converter: Converter | None = None) -> None:
        """Read with `converter`, by default the one that is installed."""
        self._converter = converter

    def read(self, message: ImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return the image (H x W x 3, uint8) and its channel order; rgb8 and bgr8 are views of the message.

        Raises:
            ImageMessageError: no pixels, an unknown encoding, or a buffer that is too short for its size and step.

        """
        width, height, encoding, step = message.width, message.height, message.encoding, message.step
        if not width or not height:
            raise ImageMessageError(f'image of {width}x{height} pixels: the camera driver sends no picture')
        if encoding in ('rgb8', 'bgr8'):
            rows = _rows(message, height, 3 * width)
            pixels = np.lib.stride_tricks.as_strided(rows, (height, width, 3), (step, 3, 1))
            return pixels, 'rgb' if encoding == 'rgb8' else 'bgr'
        if _WITHOUT_COLORS.fullmatch(encoding):
            raise ImageMessageError(f'encoding "{encoding}" does not say what its channels are: publish rgb8, bgr8 or mono8')
        converter, pixel_bytes = self._choose_converter(encoding)
        row_bytes = width * pixel_bytes
        lines = height * 3 // 2 if encoding in PLANAR else height
        packed = SimpleNamespace(
            encoding=encoding, width=width, height=lines, step=row_bytes,
            is_bigendian=message.is_bigendian if '16' in encoding else 0,  # drivers set it for bytes, too
            data=np.ascontiguousarray(_rows(message, lines, row_bytes)),
        )
        try:
            return converter.to_rgb(packed), 'rgb'
        except Exception as error:  # likewise; OpenCV refuses sizes that a subsampled encoding cannot have
            reason = ' '.join(str(error).split())
            raise ImageMessageError(f'{width}x{height} image with encoding "{encoding}": {reason}') from error

    def read_compressed(self, message: CompressedImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return a compressed image (JPEG, PNG) as H x W x 3, uint8, and its channel order.

        It is not turned, whatever a camera notes in the file: labels must lie over the image that others see.

        Raises:
            ImageMessageError: the bytes are no image that OpenCV can decode.

        """
        data = np.frombuffer(message.data, np.uint8)
        encoding = message.format.partition(';')[0].strip()  # "rgb8; jpeg compressed bgr8": what was compressed, and as what
        is_bayer = encoding.startswith('bayer_')
        flags = cv2.IMREAD_UNCHANGED if is_bayer else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, flags) if data.size else None
        if image is None:
            raise ImageMessageError(f'compressed image of {data.size} bytes with format "{message.format}" cannot be '
                                    'decoded: publish JPEG or PNG')
        if is_bayer and image.ndim == 2:  # image_transport compresses the mosaic as it is
            height, width = image.shape
            return self.read(SimpleNamespace(width=width, height=height, encoding=encoding, step=width * image.itemsize,
                                             is_bigendian=int(sys.byteorder == 'big'), data=image.tobytes()))
        return image, 'bgr'

    def _choose_converter(self, encoding: str) -> tuple[Converter, int]:
        """Return the first library that knows an encoding, and the bytes of a pixel of its first plane."""
        converters = (self._converter,) if self._converter else _installed_converters()
        if not converters:
            raise ImageMessageError(f'encoding "{encoding}" needs rosbags-image: pip install rosbags-image')
        for converter in converters:
            if encoding in PLANAR and isinstance(converter, CvBridgeConverter):
                continue  # it does not know them, and says otherwise
            with suppress(Exception):  # each library has its own exceptions; all mean that it does not know the encoding
                return converter, converter.bytes_per_pixel(encoding)
        raise ImageMessageError(f'encoding "{encoding}" is not supported: publish rgb8, bgr8 or mono8')


def _rows(message: ImageFields, height: int, row_bytes: int) -> NDArray[np.uint8]:
    """Return the used part of every row, `height` x `row_bytes`, as a view; the padding of the last row may be missing."""
    step = message.step
    if step < row_bytes:
        raise ImageMessageError(
            f'{message.width}x{message.height} {message.encoding} image with step {step}: a row has {row_bytes} bytes'
        )
    data = np.frombuffer(message.data, np.uint8)
    needed = step * (height - 1) + row_bytes
    if data.size < needed:
        raise ImageMessageError(
            f'{message.width}x{message.height} {message.encoding} image with step {step} holds {data.size} bytes, '
            f'not {needed}: it was cut off on its way'
        )
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1))

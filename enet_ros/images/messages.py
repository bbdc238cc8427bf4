"""Read sensor_msgs images from a topic or a bag into arrays. Any object with the fields of the message is accepted.

rgb8 and bgr8 are views without a copy. Every other encoding is converted by a library. Nothing is decoded or allocated
before the size of the image has been checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageError, ImageMessageError, one_line, quoted
from enet_ros.images.channels import ChannelOrder
from enet_ros.images.converters import Converter, installed_converters
from enet_ros.images.decoding import decode
from enet_ros.images.encodings import ImageFields, check_fields, check_size
from enet_ros.images.image_header import ImageHeader, is_whole, read_header, without_metadata

MAX_PIXELS = 50_000_000
"""Default of the largest number of pixels of an image."""


class CompressedImageFields(Protocol):
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: Any


class ImageReader:
    """Reads image messages of any common encoding, and refuses those that are damaged or too large."""

    def __init__(self, max_pixels: int = MAX_PIXELS, converters: Sequence[Converter] | None = None) -> None:
        """Read images of at most `max_pixels`, with the first of `converters` that can convert an encoding.

        The default converters are cv_bridge, then rosbags-image.
        """
        self._max_pixels = max_pixels
        self._converters = converters

    def check(self, message: ImageFields | CompressedImageFields) -> None:
        """Check what can be checked in microseconds, without a copy: `read` refuses everything that this refuses.

        Raises:
            ImageMessageError: the size, encoding, step or number of bytes of an Image is wrong; a CompressedImage is neither
                PNG nor JPEG or has a wrong size.

        """
        if hasattr(message, 'format'):
            self._read_header(cast('CompressedImageFields', message))
        else:
            check_fields(message, self._max_pixels)

    def read(self, message: ImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return the image (H x W x 3, uint8) and its channel order. rgb8 and bgr8 are views of the message.

        Raises:
            ImageMessageError: the size, encoding, step or number of bytes is wrong.

        """
        encoding = check_fields(message, self._max_pixels)
        width, height, name, step = message.width, message.height, message.encoding, message.step
        rows, row_bytes = encoding.rows(height), width * encoding.pixel_bytes
        data = np.frombuffer(message.data, np.uint8)
        if name in ('rgb8', 'bgr8'):
            pixels = np.lib.stride_tricks.as_strided(data, (height, width, 3), (step, 3, 1))
            return pixels, 'rgb' if name == 'rgb8' else 'bgr'
        packed = SimpleNamespace(
            encoding=name, width=width, height=rows, step=row_bytes,
            is_bigendian=int(bool(message.is_bigendian) and '16' in name),  # some drivers set it for 8-bit encodings
            data=np.ascontiguousarray(np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1))),
        )
        return self._convert(message, packed), 'rgb'

    def read_compressed(self, message: CompressedImageFields) -> tuple[NDArray[np.uint8], ChannelOrder]:
        """Return a compressed image (JPEG or PNG) as H x W x 3, uint8, and its channel order.

        An orientation in the EXIF data is ignored: labels must match the image as other nodes see it. The data decides
        between JPEG and PNG, not the format.

        Raises:
            ImageMessageError: the bytes are neither PNG nor JPEG, damaged or incomplete, or the size is wrong.

        """
        header = self._read_header(message)
        encoding = message.format.partition(';')[0].strip()  # as in "rgb8; jpeg compressed bgr8"
        # image_transport compresses Bayer images without conversion
        is_bayer = header.grey and encoding.startswith('bayer_')
        flags = cv2.IMREAD_UNCHANGED if is_bayer else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        data = bytes(message.data)
        try:
            if not is_whole(data):
                raise ImageError('is damaged or incomplete: check the camera driver and the network')
            image = decode(without_metadata(data), flags)
        except ImageError as error:
            raise _refusal(message, error) from error
        if is_bayer:
            height, width = image.shape
            return self.read(SimpleNamespace(width=width, height=height, encoding=encoding, step=width * image.itemsize,
                                             is_bigendian=int(sys.byteorder == 'big'), data=image.tobytes()))
        return image.astype(np.uint8, copy=False), 'bgr'

    def _read_header(self, message: CompressedImageFields) -> ImageHeader:
        """Return the header of a compressed image, with a size that is allowed."""
        try:
            header = read_header(memoryview(message.data))
        except ImageError as error:
            raise _refusal(message, error) from error
        check_size(header.width, header.height, self._max_pixels)
        return header

    def _convert(self, message: ImageFields, packed: ImageFields) -> NDArray[np.uint8]:
        """Return `packed`, the checked `message` with packed rows, as H x W x 3, uint8, RGB."""
        converters = installed_converters() if self._converters is None else self._converters
        if not converters:
            raise ImageMessageError(f'encoding {quoted(message.encoding)} needs rosbags-image: pip install rosbags-image')
        for converter in converters:
            try:
                return converter.to_rgb(packed)
            except Exception as error:  # each library has its own exceptions for what it does not support
                reason = one_line(error)
        raise ImageMessageError(f'{message.width}x{message.height} image with encoding {quoted(message.encoding)} cannot be '
                                f'converted: {reason}')


def _refusal(message: CompressedImageFields, error: ImageError) -> ImageMessageError:
    return ImageMessageError(f'compressed image of {len(message.data)} bytes with format {quoted(message.format)} {error}')

"""Read ground truth from image messages: class ids or colours of any bag become class ids of the model."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageError, ImageMessageError, quoted
from enet_ros.images.decoding import decode
from enet_ros.images.encodings import check_size
from enet_ros.images.image_header import is_png, is_whole, read_header, without_metadata
from enet_ros.images.messages import MAX_PIXELS
from enet_ros.replay.class_map import TruthTable

ID_TYPES = {'mono8': 'u1', '8UC1': 'u1', 'mono16': 'u2', '16UC1': 'u2', '32SC1': 'i4'}
"""Encodings that hold ids, and their NumPy types."""
_COLOR_ENCODINGS = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0)}
_PNG_ENCODINGS = {(1, 8): 'mono8', (1, 16): 'mono16', (3, 8): 'bgr8'}
"""Encodings of decoded PNG data by its number of channels and their bits."""
LOSSLESS = 'JPEG changes class ids: record PNG or sensor_msgs/msg/Image'
_REMEDY = 'name it with "classes" in a --class-map file'


def may_hold_ids(message: Any) -> bool:  # noqa: ANN401 - its type is made at run time
    """Return whether a message has an encoding of `ID_TYPES`, or PNG data with one channel."""
    if hasattr(message, 'format'):
        with suppress(ImageError):
            data = memoryview(message.data)
            return is_png(data) and read_header(data).grey
    return getattr(message, 'encoding', None) in ID_TYPES


def read_ids(message: Any) -> NDArray[Any]:  # noqa: ANN401 - likewise
    """Return the ids of an Image with one of `ID_TYPES`, H x W, without a copy, or of a CompressedImage with grey PNG data.

    Raises:
        ImageMessageError: the message is damaged, the encoding is another one, or size, step and bytes do not agree.

    """
    image = _as_image(message)
    if image.encoding not in ID_TYPES:
        raise ImageMessageError(f'ground truth has encoding {quoted(image.encoding)}: use {", ".join(ID_TYPES)} for class '
                                f'ids or {", ".join(_COLOR_ENCODINGS)} for colours')
    dtype = np.dtype(ID_TYPES[image.encoding]).newbyteorder('>' if image.is_bigendian else '<')
    return _pixels(image, dtype, 1)[..., 0]


def read_truth(message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    """Return the ground truth of an Image or a CompressedImage (PNG) as H x W class ids of the model, 255 = void.

    Raises:
        ImageMessageError: the message is damaged or JPEG, or has an encoding, an id or a colour without a meaning.

    """
    image = _as_image(message)
    if image.encoding in _COLOR_ENCODINGS:
        return _read_colors(image, table)
    ids = read_ids(image)
    if ids.dtype.itemsize > 2 and (outside := ids[(ids < 0) | (ids >= len(table.by_id))]).size:
        raise _unknown_id(int(outside[0]), table)
    if ids.dtype == np.uint8:  # for these, OpenCV is faster than indexing
        found = table.by_id[:256]
        if (unknown := cv2.LUT(ids, (found < 0).view(np.uint8))).any():
            raise _unknown_id(int(ids[unknown > 0][0]), table)
        return cv2.LUT(ids, found.astype(np.uint8))
    found = table.by_id[ids]
    if found.min() < 0:
        raise _unknown_id(int(ids[found < 0][0]), table)
    return found.astype(np.uint8)


def _as_image(message: Any) -> Any:  # noqa: ANN401 - likewise
    """Return an Image as it is, and a CompressedImage as an object with the fields of an Image."""
    if isinstance(message, ImageMessageError):
        raise message
    return _decoded(bytes(message.data)) if hasattr(message, 'format') else message


def _decoded(data: bytes) -> SimpleNamespace:
    try:
        header = read_header(data)
        if not is_png(data):
            raise ImageError(f'is lossy: {LOSSLESS}')
        if header.grey and header.bits < 8:  # decoders stretch such values to 0 to 255
            raise ImageError(f'has grey values of {header.bits} bits: use 8 or 16 bits')
        if not is_whole(data):
            raise ImageError('is damaged or incomplete: check what publishes it and the network')
        check_size(header.width, header.height, MAX_PIXELS)
        pixels = decode(without_metadata(data), cv2.IMREAD_UNCHANGED)
        kind = (1 if pixels.ndim == 2 else pixels.shape[2], 8 * pixels.itemsize)
        if kind not in _PNG_ENCODINGS:
            raise ImageError(f'has {kind[0]} channels of {kind[1]} bits: use 1 of 8 or 16 bits for class ids, '
                             'or 3 of 8 bits for colours')
    except ImageMessageError:
        raise
    except ImageError as error:
        raise ImageMessageError(f'compressed ground truth of {len(data)} bytes {error}') from error
    return SimpleNamespace(height=header.height, width=header.width, encoding=_PNG_ENCODINGS[kind], step=pixels.strides[0],
                           is_bigendian=sys.byteorder == 'big', data=pixels.reshape(-1).view(np.uint8))


def _read_colors(message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    if not table.colors:
        raise ImageMessageError(f'ground truth has colours ({message.encoding}): '
                                'name them with "classes" in a --class-map file')
    pixels = _pixels(message, np.dtype(np.uint8), 3)
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in _COLOR_ENCODINGS[message.encoding])
    codes = red << 16 | green << 8 | blue
    found = table.by_color[codes]
    if found.min() < 0:
        raise ImageMessageError(f'ground truth has colour #{codes[found < 0][0]:06x}, which is not a class: {_REMEDY}')
    return found.astype(np.uint8)


def _pixels(message: Any, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:  # noqa: ANN401 - likewise
    """Return the values, H x W x channels, as a view. Padding of the rows is left out."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    data = np.ascontiguousarray(message.data).view(np.uint8)
    if not 0 < height * width <= MAX_PIXELS or step < row or len(data) < step * (height - 1) + row:
        raise ImageMessageError(f'{width}x{height} ground truth with encoding {quoted(message.encoding)}, step {step} and '
                                f'{len(data)} bytes: size, step and bytes do not agree')
    return np.ndarray((height, width, channels), dtype, data, strides=(step, channels * dtype.itemsize, dtype.itemsize))


def _unknown_id(number: int, table: TruthTable) -> ImageMessageError:
    known = ', '.join(map(str, sorted(table.ids)))
    return ImageMessageError(f'ground truth has id {number}, which is not a class ({known} are): {_REMEDY}')

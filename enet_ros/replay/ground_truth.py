"""Read ground truth from image messages: class ids or colours of any bag become class ids of the model."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageMessageError, quoted
from enet_ros.images.messages import MAX_PIXELS
from enet_ros.replay.class_map import TruthTable

ID_TYPES = {'mono8': 'u1', '8UC1': 'u1', 'mono16': 'u2', '16UC1': 'u2', '32SC1': 'i4'}
"""Encodings that hold ids, and their NumPy types."""
_COLOR_ENCODINGS = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0)}
_REMEDY = 'name it with "classes" in a --class-map file'


def read_ids(message: Any) -> NDArray[Any]:  # noqa: ANN401 - its type is made at run time
    """Return the ids of an Image with one of `ID_TYPES`, H x W, without a copy.

    Raises:
        ImageMessageError: the message is damaged, the encoding is another one, or size, step and bytes do not agree.

    """
    if isinstance(message, ImageMessageError):
        raise message
    if message.encoding not in ID_TYPES:
        raise ImageMessageError(f'ground truth has encoding {quoted(message.encoding)}: use {", ".join(ID_TYPES)} for class '
                                f'ids or {", ".join(_COLOR_ENCODINGS)} for colours')
    dtype = np.dtype(ID_TYPES[message.encoding]).newbyteorder('>' if message.is_bigendian else '<')
    return _pixels(message, dtype, 1)[..., 0]


def read_truth(message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    """Return the ground truth of an Image as H x W class ids of the model, 255 = void.

    Raises:
        ImageMessageError: the message is damaged, or has an encoding, an id or a colour without a meaning.

    """
    if not isinstance(message, ImageMessageError) and message.encoding in _COLOR_ENCODINGS:
        return _read_colors(message, table)
    ids = read_ids(message)
    if ids.dtype.itemsize > 2 and (outside := ids[(ids < 0) | (ids >= len(table.by_id))]).size:
        raise _unknown_id(int(outside[0]), table)
    # OpenCV's table is faster than indexing, but only for 8 bits
    found = cv2.LUT(ids, table.by_id[:256]) if ids.dtype == np.uint8 else table.by_id[ids]
    if found.min() < 0:
        raise _unknown_id(int(ids[found < 0][0]), table)
    return found.astype(np.uint8)


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

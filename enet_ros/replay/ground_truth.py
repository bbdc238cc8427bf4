"""Read ground truth from image messages: class ids or colours of any bag become class ids of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageMessageError, quoted
from enet_ros.replay.class_map import TruthTable

ID_TYPES = {'mono8': 'u1', '8UC1': 'u1', 'mono16': 'u2', '16UC1': 'u2', '32SC1': 'i4'}
"""Encodings that hold ids, and their NumPy types."""
_COLOR_ENCODINGS = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0)}
_TABLE_SIZE = 1 << 16


def read_ids(message: Any) -> NDArray[Any]:  # noqa: ANN401 - its type is made at run time
    """Return the ids of an Image with one of `ID_TYPES`, H x W.

    Raises:
        ImageMessageError: the encoding is another one, or size, step and number of bytes do not agree.

    """
    name = ID_TYPES.get(message.encoding)
    if name is None:
        raise ImageMessageError(f'encoding {quoted(message.encoding)} holds no class ids: must be one of '
                                f'{", ".join(ID_TYPES)}')
    dtype = np.dtype(name).newbyteorder('>' if message.is_bigendian else '<')
    return _pixels(message, dtype.itemsize).view(dtype)


def read_truth(message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    """Return the ground truth of an Image as H x W class ids of the model, 255 = void.

    Raises:
        ImageMessageError: the message is damaged, or has an encoding, an id or a colour without a meaning.

    """
    if isinstance(message, ImageMessageError):
        raise message
    if order := _COLOR_ENCODINGS.get(message.encoding):
        return _read_colors(message, order, table)
    ids = read_ids(message)
    lookup = np.full(_TABLE_SIZE, -1, np.int16)
    lookup[list(table.ids)] = list(table.ids.values())
    smallest, largest = int(ids.min()), int(ids.max())
    if smallest < 0 or largest >= _TABLE_SIZE:
        raise _unknown_id(smallest if smallest < 0 else largest, table)
    found = lookup[ids]
    if (found < 0).any():
        raise _unknown_id(int(ids[found < 0][0]), table)
    return found.astype(np.uint8)


def _read_colors(message: Any, order: tuple[int, ...], table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    if not table.colors:
        raise ImageMessageError(f'encoding {message.encoding} holds colours: name them with "classes" in a --class-map file')
    pixels = _pixels(message, 3).reshape(message.height, message.width, 3).astype(np.uint32)
    red, green, blue = (pixels[..., channel] for channel in order)
    codes = red << 16 | green << 8 | blue
    known = {red << 16 | green << 8 | blue: number for (red, green, blue), number in table.colors.items()}
    used, places = np.unique(codes, return_inverse=True)
    if unknown := [code for code in used.tolist() if code not in known]:
        raise ImageMessageError(f'the colour #{unknown[0]:06x} of the ground truth has no name in the class map: add it')
    return np.array([known[code] for code in used.tolist()], np.uint8)[places].reshape(codes.shape)


def _pixels(message: Any, pixel_bytes: int) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    """Return the bytes of the pixels without the padding of the rows, H x (W * pixel_bytes)."""
    height, width, step = message.height, message.width, message.step
    row_bytes = width * pixel_bytes
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width or step < row_bytes or len(data) < step * (height - 1) + row_bytes:
        raise ImageMessageError(f'{width}x{height} ground truth with encoding {quoted(message.encoding)}, step {step} and '
                                f'{len(data)} bytes is incomplete')
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1)))


def _unknown_id(number: int, table: TruthTable) -> ImageMessageError:
    known = ', '.join(map(str, sorted(table.ids)))
    return ImageMessageError(f'the id {number} of the ground truth is not a class: known are {known}; '
                             'name it with "classes" in a --class-map file')

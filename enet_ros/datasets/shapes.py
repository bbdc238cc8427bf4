"""Draw labelme's shapes with the same pixels as labelme's own masks: with Pillow, as labelme does."""

from __future__ import annotations

import base64
import math
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_corners
from enet_ros.datasets.optional import import_optional
from enet_ros.datasets.source import Size
from enet_ros.errors import quoted
from enet_ros.images.files import decode_file
from enet_ros.images.image_header import is_png, read_header

_LINE_WIDTH, _POINT_RADIUS = 10, 5  # pixels, as in labelme's shape_to_mask
_CORNERS = {
    'polygon': range(3, 1 << 24), 'linestrip': range(2, 1 << 24), 'line': (2,), 'point': (1,), 'circle': (2,), 'mask': (2,),
    'rectangle': (2, 4), 'oriented_rectangle': (4,), 'rotation': (4,),  # X-AnyLabeling has `rotation` and 4 corners
}
"""How many corners the shapes have."""


def import_pillow() -> tuple[ModuleType, ModuleType]:
    """Return Pillow's modules Image and ImageDraw.

    Raises:
        DatasetError: Pillow is not installed.

    """
    purpose = "labelme's shapes"
    return import_optional('PIL.Image', purpose, 'pillow'), import_optional('PIL.ImageDraw', purpose, 'pillow')


class Canvas:
    """Label ids on which shapes are drawn."""

    def __init__(self, size: Size, background: int) -> None:
        """Fill an image of `size` (height, width) with the label id `background`.

        Raises:
            DatasetError: Pillow is not installed.

        """
        image_module, draw_module = import_pillow()
        self._from_array = image_module.fromarray
        self._image = image_module.new('L', size[::-1], background)
        self._pen = draw_module.Draw(self._image)

    def ids(self) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8)."""
        return np.array(self._image)

    def draw(self, shape: dict[str, Any], index: int) -> None:
        """Draw a shape, with its outline, as label id `index` over earlier shapes. The center of the first pixel is (0, 0).

        Raises:
            AttributeError, ImageError, KeyError, TypeError, ValueError: the type is unknown, or corners or mask cannot be
                used.

        """
        kind = shape.get('shape_type') or 'polygon'
        if kind not in _CORNERS:
            raise ValueError(f'{quoted(str(kind))} is not a type of shape: use one of {", ".join(_CORNERS)}')
        corners = np.array(shape['points'], np.float64).reshape(-1, 2)
        if len(corners) not in _CORNERS[kind]:
            raise ValueError(f'a {kind} has {len(corners)} corners')
        check_corners(corners, self._image.size)
        points = [(x, y) for x, y in corners.tolist()]
        if kind == 'mask':
            self._draw_mask(shape['mask'], corners[0], index)
        elif kind == 'circle':
            self._draw_disk(points[0], math.dist(*points), index)
        elif kind == 'point':
            self._draw_disk(points[0], _POINT_RADIUS, index)
        elif kind in ('line', 'linestrip'):
            self._pen.line(points, fill=index, width=_LINE_WIDTH)
        elif kind == 'rectangle' and len(points) == 2:
            self._pen.rectangle([*corners.min(0), *corners.max(0)], outline=index, fill=index)
        else:
            self._pen.polygon(points, outline=index, fill=index)

    def _draw_disk(self, center: tuple[float, float], radius: float, index: int) -> None:
        x, y = center
        self._pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=index, fill=index)

    def _draw_mask(self, encoded: str, corner: NDArray[np.float64], index: int) -> None:
        """Draw a mask (a PNG in base64) with its upper left pixel at `corner` (x, y). labelme cuts off fractions."""
        data = base64.b64decode(encoded)
        if not is_png(data):
            raise ValueError('a mask is not a PNG')
        header = read_header(data)
        if header.width > self._image.width or header.height > self._image.height:  # before memory is allocated
            raise ValueError(f'a mask has {header.width}x{header.height} pixels, more than the image')
        mask = decode_file(data, cv2.IMREAD_GRAYSCALE, 'a mask')
        self._image.paste(index, tuple(corner.astype(int).tolist()), self._from_array(mask > 0))

"""Synthetic street scenes with ground truth, for when no real images are available.

They show that everything runs. They say nothing about accuracy: networks are trained on photographs, not on drawings.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.labels import CAMVID

# RGB colours of the objects. They differ from the class colours, so that an overlay is visible
_OBJECT_COLORS = {
    'Sky': (176, 206, 235), 'Building': (150, 121, 104), 'Pole': (88, 90, 92), 'Road': (92, 92, 96),
    'Pavement': (158, 152, 146), 'Tree': (62, 88, 44), 'SignSymbol': (196, 60, 48), 'Fence': (120, 96, 72),
    'Car': (34, 52, 88), 'Pedestrian': (70, 48, 54), 'Bicyclist': (40, 78, 66),
}


def draw_scene(number: int, width: int = 480, height: int = 360) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw frame `number` of a drive along a street.

    Returns an image (H x W x 3, uint8, BGR) and its labels (H x W, uint8, ids of CAMVID).
    """
    labels = np.full((height, width), CAMVID.names.index('Sky'), np.uint8)
    horizon, middle = height * 0.45, width * 0.5

    def at(side: float, depth: float, up: float = 0.0) -> tuple[int, int]:
        """Project a point that is `side` metres to the right, `depth` metres ahead and `up` metres above the road."""
        scale = width * 0.8 / depth
        return round(middle + side * scale), round(horizon + (1.5 - up) * scale)

    def fill(name: str, *corners: tuple[int, int]) -> None:
        cv2.fillPoly(labels, [np.array(corners, np.int32)], CAMVID.names.index(name))

    def upright(name: str, edges: tuple[float, float], depth: float, bottom: float, top: float) -> None:
        left, right = edges
        fill(name, at(left, depth, bottom), at(right, depth, bottom), at(right, depth, top), at(left, depth, top))

    near, far = 1.5, 200.0
    fill('Pavement', at(-60, near), at(60, near), at(60, far), at(-60, far))
    fill('Road', at(-4, near), at(4, near), at(4, far), at(-4, far))
    travelled = number * 0.4
    spacing = 14.0
    for step in range(9, -1, -1):  # far to near, so that near objects cover far ones
        depth = 4 + step * spacing - travelled % spacing
        if depth < near:
            continue
        index = step + int(travelled // spacing)
        for side in (-1, 1):
            kind = (index * 7 + (side > 0) * 3) % 5
            end = depth + spacing * 0.8
            if kind == 1:
                upright('Tree', (side * 6.5, side * 11), depth + 4, 0.5, 7)
            else:
                top = 6 + kind * 2.5
                fill('Building', at(side * 9, depth), at(side * 9, end), at(side * 9, end, top), at(side * 9, depth, top))
                upright('Building', (side * 9, side * 18), depth, 0, top)
                fill('Fence', at(side * 8.4, depth), at(side * 8.4, end), at(side * 8.4, end, 1), at(side * 8.4, depth, 1))
            upright('Pole', (side * 5 - 0.08, side * 5 + 0.08), depth + 1, 0, 5)
            if kind == 2:
                upright('SignSymbol', (side * 5 - 0.5, side * 5 + 0.5), depth + 1, 3.2, 4.4)
            if kind == 3:
                upright('Car', (side * 3.6 - 0.9, side * 3.6 + 0.9), depth + 2, 0.1, 1.5)
            if kind == 4:
                upright('Pedestrian', (side * 6 - 0.3, side * 6 + 0.3), depth + 2, 0, 1.8)
            if kind == 0:
                upright('Bicyclist', (side * 2.4 - 0.3, side * 2.4 + 0.3), depth + 5, 0, 1.8)

    colors = np.array([_OBJECT_COLORS[name][::-1] for name in CAMVID.names], np.float32)
    image = colors[labels]
    texture = np.random.default_rng(number).normal(0, 9, (height, width, 1))
    shade = np.linspace(1.06, 0.9, height)[:, None, None]
    return np.clip(image * shade + texture, 0, 255).astype(np.uint8), labels

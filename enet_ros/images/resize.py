"""Resize camera images to the size of the network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RESIZE_MODES = ('stretch', 'letterbox', 'crop')


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return `image` (H x W x 3, uint8) resized to `size` (width, height), or `image` itself if it has that size."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = width > size[0] and height > size[1]
    # averaging keeps thin objects, such as poles, when an image is reduced
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

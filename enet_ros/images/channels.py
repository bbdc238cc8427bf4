"""The order of an image's colour channels: OpenCV reads BGR, cameras often publish RGB, networks here take RGB."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

ChannelOrder = Literal['rgb', 'bgr']


def to_rgb(image: NDArray[np.uint8], channels: ChannelOrder) -> NDArray[np.uint8]:
    """Return `image` (H x W x 3, uint8) in RGB order; the same array if it already is."""
    return image if channels == 'rgb' else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def to_bgr(image: NDArray[np.uint8], channels: ChannelOrder) -> NDArray[np.uint8]:
    """Return `image` (H x W x 3, uint8) in BGR order; the same array if it already is."""
    return image if channels == 'bgr' else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)

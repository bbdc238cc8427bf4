"""Draw labels over a camera image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.labels import VOID


def colorize(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours of `labels` (H x W class ids, uint8) as H x W x 3, uint8, in the channel order of `palette`."""
    return cv2.LUT(cv2.merge((labels, labels, labels)), palette[None])


def blend(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: NDArray[np.uint8], alpha: float
) -> NDArray[np.uint8]:
    """Return `image` with the colours of its labels mixed in. Void pixels are not changed.

    Args:
        image: H x W x 3, uint8.
        labels: h x w class ids, uint8; resized to the image by nearest neighbour.
        palette: 256 x 3, uint8, in the channel order of `image`.
        alpha: Opacity of the colours: 0 = only the image, 1 = only the colours.

    """
    size = (image.shape[1], image.shape[0])
    if labels.shape != image.shape[:2]:
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    mixed = cv2.addWeighted(colorize(labels, palette), alpha, image, 1 - alpha, 0)
    return cv2.copyTo(image, (labels == VOID).view(np.uint8), mixed)

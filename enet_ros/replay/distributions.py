"""How classes and confidence are distributed over the pixels of a frame. They need no ground truth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.labels import VOID


def class_share(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """Return the share of the pixels of `labels` (H x W class ids, uint8) with each class, 0 to 1.

    Void pixels are counted as pixels: the shares of a frame with void pixels sum to less than 1.
    """
    return _histogram(labels)[:classes] / labels.size


def confidence_histogram(confidence: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many pixels have each confidence (H x W, uint8): 256 counts. Pixels whose label is void are left out."""
    return _histogram(confidence, (labels != VOID).view(np.uint8))


def mean_confidence(histogram: NDArray[np.int64]) -> float | None:
    """Return the mean confidence of the pixels in a histogram of `confidence_histogram`, 0 to 1; None if it is empty."""
    pixels = histogram.sum()
    return float(histogram @ np.arange(256) / (255 * pixels)) if pixels else None


def _histogram(values: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> NDArray[np.int64]:
    """Return how many pixels have each value. Exact up to 2**24 pixels of one value, as OpenCV returns float32."""
    return cv2.calcHist([values], [0], mask, [256], [0, 256]).ravel().astype(np.int64)

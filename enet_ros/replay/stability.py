"""Label flips: how much the labels of consecutive frames differ after the motion of the image is taken out."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

FLOW_PIXELS = 60_000
"""About how many pixels the grey images have for which the flow is computed: its cost is the same for all cameras."""
AGREEMENT = 0.5
"""Largest distance, in pixels of these grey images, between a pixel and where forward and backward flow take it."""
MIN_VALID = 0.1
"""Smallest share of valid pixels for which flips are counted. A cut between scenes has fewer."""
MIN_SIDE = 16
"""Shortest side, in pixels, of an image for which flow is computed: two patches."""

Flow = NDArray[np.float32]
"""H x W x 2, in pixels to the right and down. The pixel (x, y) shows what was at (x, y) + flow in the other image."""


def flips(
    previous: NDArray[np.uint8], labels: NDArray[np.uint8], flow: Flow, valid: NDArray[np.bool_]
) -> float | None:
    """Return the share of the valid pixels of `labels` whose label differs from that of `previous` after warping, 0 to 1.

    Args:
        previous: H x W class ids of the frame before, uint8. Void (255) counts as a label.
        labels: H x W class ids, likewise.
        flow: From this frame to the frame before. The warped label is that of the nearest pixel.
        valid: H x W: where `flow` can be trusted and stays inside the image.

    Returns:
        None if less than `MIN_VALID` of the pixels are valid.

    """
    pixels = np.count_nonzero(valid)
    if pixels < MIN_VALID * valid.size:
        return None
    warped = cv2.remap(previous, _grid(*labels.shape) + flow, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.count_nonzero((warped != labels) & valid) / pixels


def agreeing(flow: Flow, back: Flow, limit: float = AGREEMENT) -> NDArray[np.bool_]:
    """Return where `flow` to another image and the flow `back` from it return to the same pixel, within `limit` pixels.

    A pixel that leaves the image does not return. This forward-backward check finds pixels that are covered in one of the
    images (Sundaram et al., "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow", ECCV 2010).
    """
    far = (1e6, 1e6)
    returned = cv2.remap(back, _grid(*flow.shape[:2]) + flow, None, cv2.INTER_LINEAR, borderValue=far)
    right, down = cv2.split(returned + flow)
    return right * right + down * down <= limit * limit


class FlipCounter:
    """Count label flips from frame to frame.

    The flow is Dense Inverse Search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016).
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        # finer than the preset: its flow is off by more than half a pixel at 640x360; a wider stride pays for it
        self._search.setFinestScale(1)
        self._search.setPatchStride(6)
        self._previous: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def update(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
        """Return `flips` from the frame before to this one: an image (H x W x 3, uint8, BGR) and its labels (H x W).

        None for the first frame, if the size of the image or of the labels changed, if the images are too small, and if
        too few pixels are valid.
        """
        grey = _reduced(image)
        previous, self._previous = self._previous, (grey, labels)
        if previous is None or previous[0].shape != grey.shape or previous[1].shape != labels.shape:
            return None
        if min(grey.shape) < MIN_SIDE:
            return None
        flow = self._search.calc(grey, previous[0], None)
        valid = agreeing(flow, self._search.calc(previous[0], grey, None))
        size = (labels.shape[1], labels.shape[0])
        flow *= np.array([size[0] / grey.shape[1], size[1] / grey.shape[0]], np.float32)
        valid = cv2.resize(valid.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return flips(previous[1], labels, cv2.resize(flow, size), valid.view(np.bool_))


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image in grey, reduced by the whole number that leaves nearest to `FLOW_PIXELS`."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    factor = max(1, round(sqrt(grey.size / FLOW_PIXELS)))
    return cv2.resize(grey, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> Flow:
    """Return the position (x, y) of every pixel, H x W x 2."""
    grid = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
    grid.flags.writeable = False
    return grid

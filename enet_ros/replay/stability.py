"""Label flips: how much the labels of consecutive frames differ after the motion of the image is taken out."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

FLOW_PIXELS = 25_000
"""About how many pixels the grey images have for which the flow is computed: its cost is the same for all cameras."""
AGREEMENT = 0.5
"""Largest distance, in pixels of these grey images, between a pixel and where forward and backward flow take it."""
MIN_VALID = 0.1
"""Smallest share of valid pixels for which flips are counted. A cut between scenes has fewer."""
MIN_SIDE = 16
"""Shortest side, in pixels, of a grey image for which flow is computed: two patches."""

Flow = NDArray[np.float32]
"""H x W x 2, in pixels to the right and down. The pixel (x, y) shows what was at (x, y) + flow in the other image."""


def flips(
    previous: NDArray[np.uint8], labels: NDArray[np.uint8], flow: Flow, valid: NDArray[np.bool_], step: int = 1
) -> float | None:
    """Return the share of the valid pixels of `labels` whose label differs from that of `previous` after warping, 0 to 1.

    Args:
        previous: Class ids of the frame before, uint8. Void (255) counts as a label.
        labels: Class ids of this frame, of the same shape.
        flow: From this frame to the frame before, for the pixels that are compared: one in every `step` rows and columns,
            the first in row and column `step // 2`. The warped label is that of the nearest pixel.
        valid: Where `flow` can be trusted and stays inside the image.
        step: See `flow`.

    Returns:
        None if less than `MIN_VALID` of the compared pixels are valid.

    """
    pixels = np.count_nonzero(valid)
    if pixels < MIN_VALID * valid.size:
        return None
    rows, columns = valid.shape
    compared = labels[step // 2 :: step, step // 2 :: step][:rows, :columns]
    positions = _grid(rows, columns, step) + flow
    warped = cv2.remap(previous, positions, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return float(np.count_nonzero((warped != compared) & valid) / pixels)


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
        # finer than the preset, whose flow is less exact at the edges of objects; a wider stride pays for it
        self._search.setFinestScale(1)
        self._search.setPatchStride(6)
        self._previous: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def update(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
        """Return `flips` from the frame before to this one: an image (H x W x 3, uint8, BGR) and its labels (H x W).

        None for the first frame, if the size changed, if the image is too small, and if too few pixels are valid.
        """
        step = max(1, round(sqrt(labels.size / FLOW_PIXELS)))
        grey = _reduced(image, step)
        previous, self._previous = self._previous, (grey, labels)
        if previous is None or previous[1].shape != labels.shape or min(grey.shape) < MIN_SIDE:
            return None
        flow = self._search.calc(grey, previous[0], None)
        valid = agreeing(flow, self._search.calc(previous[0], grey, None))
        return flips(previous[1], labels, step * flow, valid, step)


def _reduced(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return the image in grey, each pixel the mean of `step` x `step`. Incomplete ones are cut off."""
    rows, columns = image.shape[0] // step, image.shape[1] // step
    grey = cv2.cvtColor(image[: rows * step, : columns * step], cv2.COLOR_BGR2GRAY)
    return grey if step == 1 else cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=4)
def _grid(height: int, width: int, step: int = 1) -> Flow:
    """Return the position (x, y) of every compared pixel, height x width x 2."""
    columns, rows = (np.arange(size, dtype=np.float32) * step + step // 2 for size in (width, height))
    grid = np.dstack(np.meshgrid(columns, rows))
    grid.flags.writeable = False
    return grid

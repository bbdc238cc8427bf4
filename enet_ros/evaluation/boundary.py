"""Which pixels lie near a boundary between classes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.labels import VOID

BOUNDARY_DISTANCE = 3
"""Pixels."""


def near_boundary(truth: NDArray[np.uint8], distance: int = BOUNDARY_DISTANCE) -> NDArray[np.bool_]:
    """Return which pixels are at most `distance` pixels (Euclidean) away from a pixel of another class.

    `truth` is H x W class ids, uint8, 255 = void. Void is not a class: it makes no boundary and is never near one. The
    pixels are the band of the trimap evaluation of Kohli et al., "Robust Higher Order Potentials for Enforcing Label
    Consistency", IJCV 2009.
    """
    rows, columns = np.ogrid[-distance : distance + 1, -distance : distance + 1]
    disk = (rows**2 + columns**2 <= distance**2).astype(np.uint8)  # MORPH_ELLIPSE is not an exact disk
    void = truth == VOID
    # void is the highest id, so it does not affect the lowest id around a pixel
    highest, lowest = cv2.dilate(np.where(void, np.uint8(0), truth), disk), cv2.erode(truth, disk)
    return (highest != lowest) & ~void

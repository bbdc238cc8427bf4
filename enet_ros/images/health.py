"""Notice camera images that no network can use: frozen, black, saturated or blurred."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class ImageHealth:
    """Watches the images of one camera. One thread calls `update`, any thread reads `problems`."""

    def __init__(self, min_sharpness: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Report images with a sharpness below `min_sharpness` as blurred; 0 = never. `clock` returns seconds."""
        self._min_sharpness = min_sharpness
        self._clock = clock

    def update(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Look at an image (H x W x 3, uint8, any size and channel order, rows may be padded) with `stamp` in ns."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the problems of the latest images, one short text each; empty if they are healthy or too old."""
        return ()

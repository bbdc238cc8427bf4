"""Notice camera images that no network can use: frozen, black, saturated or blurred."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

INTERVAL = 1.0
"""Seconds between two checks. A result is forgotten after five of them without an image."""
BLACK_LEVEL, BLACK_SHARE = 20, 0.99
"""An image is black if this share of its pixels has at most this value. In video with limited range, black is 16."""
SATURATED_LEVEL, SATURATED_SHARE = 250, 0.5
"""An image is saturated if this share of its pixels has at least this value."""
_SIDE = 320  # pixels of the longer side of the sample


@dataclass(frozen=True)
class Health:
    """The result of one check."""

    problems: tuple[str, ...]
    """One text for each problem; empty for a healthy image."""
    sharpness: float
    """`sharpness` of the image."""


class ImageHealth:
    """Checks the images of one camera once per second. One thread calls `update`, any thread reads `latest`.

    Images are checked in a sample with a longer side of 320 pixels, so that the cost does not depend on their size. Images
    are frozen if all of one interval have the pixels of the last check, but other stamps: a paused bag is not frozen.
    """

    def __init__(self, min_sharpness: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Report images with a `sharpness` below `min_sharpness` as blurred; 0 = never. `clock` returns seconds."""
        self._min_sharpness = min_sharpness
        self._clock = clock
        self._health = Health((), 0.0)
        self._time: float | None = None  # of the last check
        self._sample: NDArray[np.uint8] | None = None  # of the last check, and its stamp
        self._stamp = 0
        self._changed = False  # whether an image since the last check has other pixels
        self._repeats = 0  # images since the last check with the same pixels and another stamp

    @property
    def latest(self) -> Health | None:
        """Return the result of the last check; None if there is none or images have not arrived since."""
        checked = self._time
        return None if checked is None or self._clock() - checked > 5 * INTERVAL else self._health

    def update(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Check an image if it is time to.

        Args:
            image: H x W x 3, uint8, of any size; rows may be padded.
            stamp: Its stamp in nanoseconds; 0 = not set.

        """
        now = self._clock()
        due = self._time is None or now - self._time >= INTERVAL
        if self._changed and not due:
            return
        sample = _sample(image)
        if self._sample is not None and (not stamp or stamp != self._stamp):
            self._changed = self._changed or not np.array_equal(sample, self._sample)
            self._repeats += 1
        if due:
            frozen = self._repeats > 0 and not self._changed
            self._health = _check(sample, frozen, self._min_sharpness)
            self._time, self._sample, self._stamp, self._changed, self._repeats = now, sample, stamp, False, 0


def sharpness(image: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of an image (H x W x 3, uint8), reduced to a longer side of 320 pixels.

    Pech-Pacheco et al. (2000), "Diatom autofocusing in brightfield microscopy". It grows with the contrast of the scene.
    Because of the reduction, blur counts in proportion to the image, and hardly depends on its number of pixels.
    """
    return _sharpness(_sample(image))


def _sample(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the green channel, which is close to the brightness in either channel order, with few pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    # interpolation reads few pixels of a large image; area averaging reads all of them: 1.9 ms at 1080p
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.extractChannel(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), 1)


def _sharpness(sample: NDArray[np.uint8]) -> float:
    _, deviation = cv2.meanStdDev(cv2.Laplacian(sample, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def _check(sample: NDArray[np.uint8], frozen: bool, min_sharpness: float) -> Health:
    problems = []
    if frozen:
        problems.append('frozen: the pixels do not change although the stamps do: restart the camera driver')
    dark, bright = float(np.mean(sample <= BLACK_LEVEL)), float(np.mean(sample >= SATURATED_LEVEL))
    measured = _sharpness(sample)
    if dark >= BLACK_SHARE:
        problems.append(f'black: {dark:.0%} of the pixels are {BLACK_LEVEL} or less: check lens cap, light and exposure')
    elif bright >= SATURATED_SHARE:
        problems.append(f'saturated: {bright:.0%} of the pixels are {SATURATED_LEVEL} or more: reduce the exposure')
    elif measured < min_sharpness:  # black and saturated images have no edges either
        problems.append(f'blurred: sharpness {measured:.0f} is below {min_sharpness:g} (min_sharpness): clean or focus the '
                        'lens')
    return Health(tuple(problems), measured)

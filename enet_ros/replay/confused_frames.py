"""In which frames two classes are confused most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 5
"""Frames kept for each pair of classes."""


class ConfusedFrames:
    """Keeps the frames with most pixels for each wrong cell of a confusion matrix. Its size does not grow."""

    def __init__(self, classes: int) -> None:
        """Begin without frames."""
        shape = (classes, classes + 1, LIMIT)
        self._pixels = np.zeros(shape, np.int64)  # largest first
        self._frames = np.zeros(shape, np.int64)

    def update(self, frame: int, confusion: NDArray[np.int64]) -> None:
        """Take the confusion matrix of frame number `frame`. Of frames with equally many pixels, the first is kept."""
        new = confusion > self._pixels[:, :, -1]
        np.fill_diagonal(new, False)
        if not new.any():
            return
        pixels, frames = self._pixels[new], self._frames[new]
        pixels[:, -1], frames[:, -1] = confusion[new], frame
        order = np.argsort(-pixels, axis=1, kind='stable')
        self._pixels[new], self._frames[new] = np.take_along_axis(pixels, order, 1), np.take_along_axis(frames, order, 1)

    def result(self) -> dict[tuple[int, int], tuple[tuple[int, int], ...]]:
        """Return `ReplayResult.confusion_frames`. Pairs that were never confused are left out."""
        return {
            (true, predicted): tuple(
                (frame, pixels) for frame, pixels in zip(self._frames[true, predicted].tolist(),
                                                         self._pixels[true, predicted].tolist()) if pixels
            )
            for true, predicted in np.argwhere(self._pixels[:, :, 0]).tolist()
        }

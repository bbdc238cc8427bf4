"""The frames of a replay to look at: the worst ones and typical ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.images.files import encode_image
from enet_ros.labels import VOID, LabelSet
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.results import Picture

MAX_WIDTH = 640
WORST = 6
TYPICAL = 3
SAMPLE = 24
"""Frames among which the typical ones are looked for."""
_WRONG = np.array([80, 0, 255, 255], np.uint8)  # BGRA: a red that no built-in label set uses


@dataclass(frozen=True)
class _Candidate:
    """A frame that may become a picture, in the size of the picture."""

    frame: int
    score: float
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None


class PictureChooser:
    """Chooses the frames with the lowest scores and frames near the median score. Keeps at most `WORST` + `SAMPLE` frames.

    The sample is every n-th frame. Whenever it is full, every second frame of it is dropped and n doubles, so that it covers
    the drive evenly and does not depend on chance.
    """

    def __init__(self) -> None:
        """Begin without frames."""
        self._scores: list[float] = []
        self._worst: list[tuple[float, int, _Candidate]] = []  # a heap: the best of the worst first
        self._sample: list[_Candidate] = []
        self._step = 1

    def update(self, frame: int, segmented: SegmentedFrame, score: float) -> None:
        """Consider the frame with index `frame`. Of frames with equal scores, the first counts as the worst."""
        sampled = len(self._scores) % self._step == 0
        self._scores.append(score)
        key = (-score, -frame)
        full = len(self._worst) == WORST
        bad = not full or key > self._worst[0][:2]
        if not (bad or sampled):
            return
        candidate = _reduce(frame, score, segmented)
        if bad:
            (heapq.heapreplace if full else heapq.heappush)(self._worst, (*key, candidate))
        if sampled:
            self._sample.append(candidate)
            if len(self._sample) == SAMPLE:
                del self._sample[1::2]
                self._step *= 2

    def worst(self, labels: LabelSet) -> tuple[Picture, ...]:
        """Return the `WORST` frames with the lowest scores, worst first."""
        return _pictures((candidate for _, _, candidate in sorted(self._worst, reverse=True)), labels)

    def typical(self, labels: LabelSet) -> tuple[Picture, ...]:
        """Return `TYPICAL` frames of the sample whose score is nearest to the median of all frames, nearest first."""
        if not self._scores:
            return ()
        middle = median(self._scores)
        nearest = sorted(self._sample, key=lambda candidate: (abs(candidate.score - middle), candidate.frame))
        return _pictures(nearest[:TYPICAL], labels)


def _reduce(frame: int, score: float, segmented: SegmentedFrame) -> _Candidate:
    height, width = segmented.image.shape[:2]
    size = (width, height)
    if width > MAX_WIDTH:
        size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    truth = None if segmented.truth is None else _resize(segmented.truth, size, cv2.INTER_NEAREST_EXACT)
    return _Candidate(frame, score, _resize(segmented.image, size, cv2.INTER_AREA),
                      _resize(segmented.labels, size, cv2.INTER_NEAREST_EXACT), truth)


def _resize(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return pixels if pixels.shape[1::-1] == size else cv2.resize(pixels, size, interpolation=interpolation)


def _pictures(candidates: Iterable[_Candidate], labels: LabelSet) -> tuple[Picture, ...]:
    palette = np.zeros((256, 4), np.uint8)  # BGRA; ids without a class are transparent
    palette[: len(labels)] = [(blue, green, red, 255) for red, green, blue in labels.colors]
    pictures = []
    for candidate in candidates:
        truth, difference = None, None
        if candidate.truth is not None:
            truth = encode_image('.png', palette[candidate.truth])
            wrong = (candidate.labels != candidate.truth) & (candidate.truth != VOID)
            difference = encode_image('.png', np.where(wrong[..., None], _WRONG, np.uint8(0)))
        pictures.append(Picture(candidate.frame, encode_image('.jpg', candidate.image),
                                encode_image('.png', palette[candidate.labels]), truth, difference))
    return tuple(pictures)

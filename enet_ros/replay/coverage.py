"""Count how much of a bag a replay covers, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageError, one_line
from enet_ros.replay.frames import ReplayFrame, SegmentedFrame
from enet_ros.replay.results import Coverage

Labels = NDArray[np.uint8]


class CoverageCounter:
    """Counts the frames of one bag. One thread may decode while another calls `add`."""

    def __init__(self, labels_topic: str) -> None:
        """Count for a bag with ground truth on `labels_topic`; empty = without."""
        self._labels_topic = labels_topic
        self._selected = self._segmented = self._with_truth = 0
        self._refused = _Loss('images cannot be used')
        self._truth_refused = _Loss('images have ground truth that cannot be used')
        self._last_stamp: tuple[int, int] | None = None
        self._repeated = self._backwards = 0

    def decode(self, replayed: ReplayFrame) -> NDArray[np.uint8] | None:
        """Return the image of a selected frame, H x W x 3, uint8, BGR; None if it cannot be used."""
        self._selected += 1
        self._count_stamp(replayed.frame.stamp)
        try:
            return replayed.frame.decode()
        except EnetError as error:
            self._refused.add(error)
            return None

    def decode_truth(self, replayed: ReplayFrame, size: tuple[int, int]) -> Labels | None:
        """Return the ground truth of an image of this height and width; None if there is none or it cannot be used."""
        if replayed.truth is None:
            return None
        try:
            truth = replayed.truth()
            if truth.shape != size:
                raise ImageError(f'{replayed.frame.name}: the ground truth is {truth.shape[1]}x{truth.shape[0]} pixels, '
                                 f'the image {size[1]}x{size[0]}: both must have the same size')
        except EnetError as error:
            self._truth_refused.add(error)
            return None
        return truth

    def add(self, frame: SegmentedFrame) -> None:
        """Count a segmented frame."""
        self._segmented += 1
        self._with_truth += frame.truth is not None

    def result(self, losses: Sequence[str] = ()) -> Coverage:
        """Return what was counted. `losses` are lines about what could not be read from the bag."""
        truth_refused = self._truth_refused.count
        without = self._segmented - self._with_truth - truth_refused if self._labels_topic else 0
        problems = [*losses, *self._refused.lines(), *self._truth_refused.lines()]
        if self._segmented and without == self._segmented:
            problems.append(f'no image has ground truth on {self._labels_topic}: check the topic and the tolerance')
        counts = self._selected, self._segmented, self._refused.count, self._with_truth, without, truth_refused
        return Coverage(*counts, tuple(problems), tuple(self._notes()))

    def _count_stamp(self, stamp: tuple[int, int] | None) -> None:
        if stamp is not None and self._last_stamp is not None:
            self._repeated += stamp == self._last_stamp
            self._backwards += stamp < self._last_stamp
        self._last_stamp = stamp or self._last_stamp

    def _notes(self) -> Iterator[str]:
        if self._repeated or self._backwards:
            yield (f'the stamps of the images do not increase: {self._repeated} repeat the one before, '
                   f'{self._backwards} are earlier')


class _Loss:
    """Counts one kind of loss, and keeps the first."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first = ''
        self.count = 0

    def add(self, error: EnetError) -> None:
        self._first = self._first or one_line(error)
        self.count += 1

    def lines(self) -> list[str]:
        return [f'{self.count} {self._what}, the first: {self._first}'] if self.count else []

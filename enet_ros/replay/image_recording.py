"""Images with ground truth beside them, played as if they were a bag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import DatasetError, IncompleteInputError
from enet_ros.images.files import read_labels
from enet_ros.images.frames import FrameSource
from enet_ros.labels import VOID
from enet_ros.replay.fingerprint import fingerprint
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.results import BagInfo


class ImageRecording:
    """The frames of any source. Iterate it once or more."""

    def __init__(self, source: FrameSource, rate: float, truth: Path | None, classes: int) -> None:
        """Play `source`, at `rate` Hz if its frames have no times.

        `truth` is the folder with the ground truth of every frame: NAME.png, ids of `classes` classes, 255 = void.
        """
        self.count = source.count
        self.losses: tuple[str, ...] = ()
        """After an iteration: a line about what could not be read."""
        self.info = BagInfo(source.path.name, fingerprint(source.path), source.topic, truth.name if truth else '',
                            source.count, max(0, source.count - 1) / rate)
        self._source, self._rate, self._truth, self._classes = source, rate, truth, classes

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the frames in the order of the source."""
        self.losses = ()
        try:
            for number, frame in enumerate(self._source):
                timed = frame if frame.seconds is not None else replace(frame, seconds=number / self._rate)
                truth = partial(self._read_truth, self._truth / f'{frame.name}.png') if self._truth else None
                yield ReplayFrame(timed, truth)
        except IncompleteInputError as error:
            self.losses = (str(error),)

    def _read_truth(self, path: Path) -> NDArray[np.uint8]:
        labels = read_labels(path)
        if (wrong := labels[(labels >= self._classes) & (labels != VOID)]).size:
            raise DatasetError(f'{path}: label id {wrong[0]} is not one of {self._classes} classes')
        return labels

"""A sketch, to be replaced."""
# ruff: noqa

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, IncompleteInputError
from enet_ros.images.sources import Frame, open_frames
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.results import BagInfo


@dataclass(frozen=True)
class Selection:
    image_topic: str = ''
    labels_topic: str = ''
    tolerance: float = 0.01
    start: float = 0.0
    duration: float | None = None
    every: int = 1
    max_frames: int | None = None
    ignore: tuple[tuple[float, float], ...] = ()


class Recording:
    def __init__(self, path: Path, selection: Selection) -> None:
        self._source = open_frames(path, selection.image_topic)
        self._selection = selection
        if not self._source.count:
            raise EnetError(f'bag {path} has no images on {self._source.topic}')
        files = sorted(path.rglob('*')) if path.is_dir() else [path]
        hasher = hashlib.sha256()
        for file in files:
            with file.open('rb') as opened:
                while part := opened.read(1 << 20):
                    hasher.update(part)
        digest = hasher.hexdigest()
        self.info = BagInfo(path.name, digest, self._source.topic, selection.labels_topic, self._source.count, 0.0)
        self.count = len(range(0, self._source.count, selection.every))
        self.losses: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[ReplayFrame]:
        try:
            for frame in islice(self._source, 0, None, self._selection.every):
                yield ReplayFrame(frame, partial(_truth, frame) if self._selection.labels_topic else None)
        except IncompleteInputError as error:
            self.losses = (str(error),)


def open_recording(path: Path, selection: Selection, class_map: object = None) -> Recording:
    return Recording(path, selection)


def _truth(frame: Frame) -> NDArray[np.uint8]:
    return (frame.decode()[..., 1] // 32).astype(np.uint8)

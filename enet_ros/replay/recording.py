"""The frames of a bag that a replay evaluates, each with its ground truth."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError
from enet_ros.images.bag_frames import BagFrames, message_stamp
from enet_ros.images.bags import Bag, RecordedMessage, open_bag
from enet_ros.images.frames import Frame
from enet_ros.labels import LabelSet
from enet_ros.replay.class_map import ClassMap, TruthTable, truth_table
from enet_ros.replay.fingerprint import fingerprint
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.ground_truth import read_truth
from enet_ros.replay.matching import WINDOW, StampMatcher
from enet_ros.replay.results import BagInfo
from enet_ros.replay.topics import check_labels_topic, choose_image_topic, find_label_topics, read_class_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which topics and frames of a bag to replay. Times are seconds of recording since the first image."""

    image_topic: str = ''
    """Empty = the only image topic that is not one of labels."""
    labels_topic: str = ''
    """Topic of the ground truth; empty = none."""
    tolerance: float = 0.02
    """Largest difference in seconds between the stamps of an image and its ground truth."""
    start: float = 0.0
    duration: float | None = None
    """None = to the end."""
    every: int = 1
    """Every Nth image from `start` on, without those that are ignored."""
    max_frames: int | None = None
    ignore: tuple[tuple[float, float], ...] = ()
    """Ranges (start, end) whose frames are left out; `end` is not in the range."""

    @property
    def end(self) -> float:
        """Return the time from which no frame is selected."""
        return math.inf if self.duration is None else self.start + self.duration

    def includes(self, seconds: float, margin: float = 0.0) -> bool:
        """Return whether images at this time, or within `margin` of it, can be selected."""
        ignored = not margin and any(start <= seconds < end for start, end in self.ignore)
        return self.start - margin <= seconds < self.end + margin and not ignored


class Recording:
    """The selected frames of one bag. Iterate it once or more."""

    def __init__(self, bag: Bag, selection: Selection, table: TruthTable, info: BagInfo) -> None:
        """Read frames of `bag` as `open_recording` has checked them."""
        self.info = info
        self.losses: tuple[str, ...] = ()
        """After an iteration: a line about each part of the bag that could not be read."""
        self._bag, self._selection, self._table = bag, selection, table

    @property
    def count(self) -> int:
        """Return the number of frames, estimated if only a part of the time is selected."""
        selection, info = self._selection, self.info
        part = max(0.0, min(selection.end, info.seconds) - selection.start) / info.seconds if info.seconds else 1.0
        count = math.ceil(part * info.images / selection.every)
        return count if selection.max_frames is None else min(count, selection.max_frames)

    @property
    def rate(self) -> float:
        """Return how many of its frames come in a second of recording; 10 for a single image."""
        frames = (self.info.images - 1) / self._selection.every
        return frames / self.info.seconds if frames > 0 and self.info.seconds > 0 else 10.0

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the selected frames in the order of the bag."""
        self.losses = ()
        frames = BagFrames(self._bag.path, self.info.image_topic)
        chooser = _Chooser(self._selection)
        matcher = StampMatcher(round(self._selection.tolerance * 1e9))
        damaged: list[ImageMessageError] = []
        try:
            for message in self._messages():
                seconds = frames.seconds(message.time)
                if message.topic != self.info.labels_topic:
                    frame = frames.make(message.time, message.message)
                    is_chosen = chooser.take(seconds)
                    if self.info.labels_topic:
                        matcher.add_image(message.time, _stamp(message), frame if is_chosen else None)
                    elif is_chosen:
                        yield ReplayFrame(frame, None)
                elif not isinstance(message.message, ImageMessageError):
                    matcher.add_truth(message.time, _stamp(message), message.message)
                elif self._selection.includes(seconds, WINDOW / 1e9):
                    damaged.append(message.message)
                yield from self._matched(matcher, message.time)
                if chooser.is_done(seconds) and not matcher.waiting:
                    break
        except IncompleteInputError as error:
            self.losses = (str(error),)
        yield from self._matched(matcher)
        if damaged:
            self.losses += (f'damaged messages on {self.info.labels_topic}: {len(damaged)}, the first: {damaged[0]}',)

    def _messages(self) -> Iterator[RecordedMessage]:
        return self._bag.messages({self.info.image_topic, self.info.labels_topic} - {''})

    def _matched(self, matcher: StampMatcher, now: int | None = None) -> Iterator[ReplayFrame]:
        for frame, message in matcher.matched(now):
            yield ReplayFrame(frame, None if message is None else partial(_read, frame, message, self._table))


class _Chooser:
    """Chooses the frames of a selection from all images, in their order."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._candidates = self._chosen = 0

    def take(self, seconds: float) -> bool:
        """Return whether the next image, at this time, is selected."""
        if not self._selection.includes(seconds) or self._chosen == self._selection.max_frames:
            return False
        is_chosen = self._candidates % self._selection.every == 0
        self._candidates += 1
        self._chosen += is_chosen
        return is_chosen

    def is_done(self, seconds: float) -> bool:
        """Return whether no image is selected any more. Images of a recording that was cut off can be out of order."""
        return self._chosen == self._selection.max_frames or seconds >= self._selection.end + WINDOW / 1e9


def open_recording(path: Path, selection: Selection, class_map: ClassMap | None, labels: LabelSet) -> Recording:
    """Open a bag for a model with the classes `labels`.

    Raises:
        EnetError: the bag cannot be read, a topic is not there or of the wrong kind, the classes do not fit, or `selection`
            starts after the last image.

    """
    if not path.exists():
        raise EnetError(f'no such bag: {path}')
    bag = open_bag(path)
    label_topics = find_label_topics(bag, len(labels))
    topic = choose_image_topic(bag, selection.image_topic, selection.labels_topic, label_topics)
    table = TruthTable()
    if selection.labels_topic:
        check_labels_topic(bag, selection.labels_topic)
        table = truth_table(read_class_names(bag, selection.labels_topic), class_map or ClassMap(), labels)
    elif label_topics:
        log.info('bag %s has labels on %s: to measure accuracy, choose ground truth with --labels-topic',
                 path, ', '.join(label_topics))
    seconds = bag.seconds(topic)
    if selection.start > seconds:
        raise EnetError(f'bag {path} has {seconds:.3f} s of images on {topic}: --start {selection.start:g} is after its end')
    info = BagInfo(path.name, fingerprint(path), topic, selection.labels_topic, bag.topics[topic].count, seconds)
    return Recording(bag, selection, table, info)


def _stamp(message: RecordedMessage) -> int:
    sec, nanosec = message_stamp(message.message) or divmod(message.time, 10**9)
    return sec * 10**9 + nanosec


def _read(frame: Frame, message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - its type is made at run time
    try:
        return read_truth(message, table)
    except ImageMessageError as error:
        raise ImageMessageError(f'{frame.name}: {error}') from error

"""The frames of a bag that a replay evaluates, each with its ground truth."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError
from enet_ros.images.bags import LABEL_INFO_TYPE, Bag, open_bag
from enet_ros.images.sources import BagFrames, Frame, message_stamp
from enet_ros.labels import VOID, LabelSet
from enet_ros.replay.class_map import ClassMap, TruthTable, truth_table
from enet_ros.replay.fingerprint import fingerprint
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.ground_truth import ID_TYPES, read_ids, read_truth
from enet_ros.replay.results import BagInfo

log = logging.getLogger(__name__)

_WINDOW = 10**9
"""Nanoseconds of recording by which an image and its ground truth may be apart."""
_TRUTH_TYPE = 'sensor_msgs/msg/Image'


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
    """Every Nth image from `start` on."""
    max_frames: int | None = None
    ignore: tuple[tuple[float, float], ...] = ()
    """Ranges (start, end) whose frames are left out; `end` is not in the range."""


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
        """Return the number of frames at most."""
        count = -(-self.info.images // self._selection.every)
        return count if self._selection.max_frames is None else min(count, self._selection.max_frames)

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the selected frames in the order of the bag."""
        self.losses = ()
        matcher = _Matcher(round(self._selection.tolerance * 1e9), self._table, bool(self.info.labels_topic))
        try:
            yield from self._read(matcher)
        except IncompleteInputError as error:
            self.losses = (str(error),)
        yield from matcher.flush()
        if matcher.damaged:
            self.losses += (f'{matcher.damaged} messages of {self.info.labels_topic} are damaged',)

    def _read(self, matcher: _Matcher) -> Iterator[ReplayFrame]:
        selection, frames = self._selection, BagFrames(self._bag.path, self.info.image_topic)
        candidates = selected = 0
        is_done = False
        for message in self._bag.messages({self.info.image_topic, self.info.labels_topic} - {''}):
            if message.topic == self.info.labels_topic:
                matcher.add_truth(message.time, message.message)
            elif not is_done:
                frame = frames.make(message.time, message.message)
                seconds = frame.seconds or 0.0
                is_done = selection.duration is not None and seconds >= selection.start + selection.duration
                ignored = any(start <= seconds < end for start, end in selection.ignore)
                if not is_done and seconds >= selection.start and not ignored:
                    if candidates % selection.every == 0:
                        matcher.add_frame(message.time, frame)
                        selected += 1
                    candidates += 1
                is_done = is_done or selected == selection.max_frames
            yield from matcher.ready(message.time)
            if is_done and not matcher.is_waiting:
                return


class _Matcher:
    """Gives each frame the unused ground truth with the nearest stamp, within a second of recording on both sides."""

    def __init__(self, tolerance: int, table: TruthTable, has_truth: bool) -> None:
        """Match stamps that differ by at most `tolerance` nanoseconds."""
        self.damaged = 0
        self._tolerance, self._table, self._has_truth = tolerance, table, has_truth
        self._frames: deque[tuple[int, Frame]] = deque()
        self._truths: list[tuple[int, int, Any]] = []  # when recorded, stamp, message

    @property
    def is_waiting(self) -> bool:
        """Return whether a frame waits for its ground truth."""
        return bool(self._frames)

    def add_frame(self, time: int, frame: Frame) -> None:
        self._frames.append((time, frame))

    def add_truth(self, time: int, message: Any) -> None:  # noqa: ANN401 - its type is made at run time
        if isinstance(message, ImageMessageError):
            self.damaged += 1
            return
        sec, nanosec = message_stamp(message) or divmod(time, 10**9)
        self._truths.append((time, sec * 10**9 + nanosec, message))

    def ready(self, now: int) -> Iterator[ReplayFrame]:
        """Yield the frames whose ground truth is found, or cannot come any more at the time `now`, in order."""
        while self._frames:
            time, frame = self._frames[0]
            nearest = self._nearest(frame)
            # without a difference, no later one can be nearer
            if self._has_truth and time + _WINDOW >= now and (nearest is None or self._difference(nearest, frame) > 0):
                break
            self._frames.popleft()
            yield self._match(frame, nearest)
        oldest = (self._frames[0][0] if self._frames else now) - _WINDOW
        while self._truths and self._truths[0][0] < oldest:
            self._truths.pop(0)

    def flush(self) -> Iterator[ReplayFrame]:
        """Yield the frames that are left."""
        while self._frames:
            _, frame = self._frames.popleft()
            yield self._match(frame, self._nearest(frame))

    def _nearest(self, frame: Frame) -> int | None:
        near = [index for index in range(len(self._truths)) if self._difference(index, frame) <= self._tolerance]
        return min(near, key=lambda index: self._difference(index, frame)) if near else None

    def _difference(self, index: int, frame: Frame) -> int:
        assert frame.stamp is not None  # frames of bags have stamps
        return abs(self._truths[index][1] - frame.stamp[0] * 10**9 - frame.stamp[1])

    def _match(self, frame: Frame, index: int | None) -> ReplayFrame:
        truth = None if index is None else partial(_read, frame.name, self._truths.pop(index)[2], self._table)
        return ReplayFrame(frame, truth)


def open_recording(path: Path, selection: Selection, class_map: ClassMap | None, labels: LabelSet) -> Recording:
    """Open a bag for a model with the classes `labels`.

    Raises:
        EnetError: the bag cannot be read, a topic is not there or of the wrong kind, or the classes do not fit.

    """
    if not path.exists():
        raise EnetError(f'no such bag: {path}')
    bag = open_bag(path)
    label_topics = [name for name in bag.topics if _label_info_topic(bag, name)]
    topic = _choose_images(bag, selection, label_topics)
    if not bag.topics[topic].count:
        raise EnetError(f'bag {path} has no message on {topic}: choose another topic with --image-topic')
    _refuse_labels(bag, topic, len(labels))
    table = TruthTable({}, {})
    if selection.labels_topic:
        _check_truth(bag, selection.labels_topic)
        table = truth_table(_class_names(bag, selection.labels_topic), class_map or ClassMap(), labels)
    elif label_topics:
        log.info('bag %s has labels on %s: to measure the accuracy, pass --labels-topic', path, ', '.join(label_topics))
    info = BagInfo(path.name, fingerprint(path), topic, selection.labels_topic, bag.topics[topic].count, bag.seconds)
    return Recording(bag, selection, table, info)


def _choose_images(bag: Bag, selection: Selection, label_topics: list[str]) -> str:
    topics = bag.image_topics()
    listed = ', '.join(f'{name} ({topic.msgtype}, {topic.count})' for name, topic in sorted(topics.items())) or 'none'
    if selection.image_topic and selection.image_topic == selection.labels_topic:
        raise EnetError(f'{selection.image_topic} is given as --image-topic and as --labels-topic: choose two topics')
    if selection.image_topic and selection.image_topic not in topics:
        other = bag.topics.get(selection.image_topic)
        kind = f' of type {other.msgtype or "several types"}, which is not an image' if other else ''
        what = f'topic {selection.image_topic}{kind}' if other else f'no topic {selection.image_topic}'
        raise EnetError(f'bag {bag.path} has {what}; its image topics: {listed}')
    if selection.image_topic in label_topics:
        raise EnetError(f'{selection.image_topic} holds labels, not camera images: choose another --image-topic of {listed}')
    cameras = [name for name in topics if name not in (*label_topics, selection.labels_topic)]
    if not selection.image_topic and len(cameras) != 1:
        raise EnetError(f'bag {bag.path} has {len(cameras)} camera topics: choose one with --image-topic; '
                        f'its image topics: {listed}')
    return selection.image_topic or cameras[0]


def _refuse_labels(bag: Bag, topic: str, classes: int) -> None:
    """Refuse a topic whose first image has only ids of classes in large areas: a camera's dark image has noise."""
    try:
        first = next(bag.messages([topic]), None)
        if first is None or getattr(first.message, 'encoding', '') not in ID_TYPES:
            return
        ids = read_ids(first.message)
    except (ImageMessageError, IncompleteInputError):
        return  # reported when the frames are read
    values = np.unique(ids)
    is_flat = ids.shape[1] < 2 or np.mean(ids[:, 1:] == ids[:, :-1]) > 0.8
    if len(values) > 1 and is_flat and all(value < classes or value == VOID for value in values.tolist()):
        raise EnetError(f'{topic} of bag {bag.path} holds labels, not camera images: choose another --image-topic')


def _check_truth(bag: Bag, topic: str) -> None:
    found = bag.topics.get(topic)
    if found is None or found.msgtype != _TRUTH_TYPE:
        images = ', '.join(sorted(name for name, other in bag.topics.items() if other.msgtype == _TRUTH_TYPE)) or 'none'
        reason = f'is of type {found.msgtype or "several types"}' if found else 'does not exist'
        raise EnetError(f'labels topic {topic} {reason} in bag {bag.path}: choose one of type {_TRUTH_TYPE}: {images}')


def _label_info_topic(bag: Bag, topic: str) -> str:
    """Return the topic with the class names of a topic with labels; empty if there is none."""
    folder, _, last = topic.rpartition('/')
    # beside labels, as the node and image_transport's camera topics do; overlays have the same parent
    names = [f'{topic}/label_info', *([f'{folder}/label_info'] if last == 'labels' else [])]
    return next((name for name in names if name in bag.topics and bag.topics[name].msgtype == LABEL_INFO_TYPE), '')


def _class_names(bag: Bag, topic: str) -> dict[int, str] | None:
    """Return the names that the bag gives to the ids of a topic with labels; None if it gives none."""
    name = _label_info_topic(bag, topic)
    if not name:
        return None
    try:
        first = next(bag.messages([name]), None)
    except IncompleteInputError:
        first = None
    if first is None or isinstance(first.message, ImageMessageError):
        log.warning('bag %s: the class names on %s cannot be read: ids are taken as those of the model', bag.path, name)
        return None
    return {int(entry.class_id): str(entry.class_name) for entry in first.message.class_map}


def _read(name: str, message: Any, table: TruthTable) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    try:
        return read_truth(message, table)
    except ImageMessageError as error:
        raise ImageMessageError(f'{name}: {error}') from error

"""Read messages, above all images, from a bag: ROS 1 and ROS 2, sqlite3 and mcap.

`bag_reader` reads bags whose recording was finished, and `McapScan` mcap files that were cut off.
"""

from __future__ import annotations

import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError, one_line
from enet_ros.images.bag_reader import TYPES, bag_reader, read_topics, refusal
from enet_ros.images.decompressed_bag import decompressed
from enet_ros.images.mcap_scan import McapScan, is_unfinished_mcap, read_metadata

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


@dataclass(frozen=True)
class RecordedMessage:
    """One message of a bag."""

    topic: str
    time: int
    """When it was recorded, in nanoseconds since the epoch."""
    message: Any
    """An ImageMessageError if the message is damaged."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    msgtype: str
    """Such as sensor_msgs/msg/Image. If it has several types, all of them with " and " between them."""
    count: int
    """Number of messages."""


@dataclass(frozen=True)
class Bag:
    """A bag whose topics are known. Its messages are read from the file each time."""

    path: Path
    topics: Mapping[str, Topic]
    finished: bool
    """False for an mcap file whose recording was cut off."""
    storage: Path
    """What is read: `path`, or a temporary folder with the bag without compression, which is removed with this object."""

    def image_topics(self) -> dict[str, Topic]:
        """Return the topics with images."""
        return {name: topic for name, topic in self.topics.items() if topic.msgtype in IMAGE_TYPES}

    def images(self, topic: str = '') -> ImageTopic:
        """Return the only image topic, or `topic`.

        Raises:
            EnetError: `topic` does not choose one of the image topics.

        """
        topics = self.image_topics()
        if not topics:
            if self.finished:
                raise EnetError(f'bag {self.path} has no topic with images')
            raise EnetError(f'{self.path} is an incomplete recording without an image that can be read')
        names = ', '.join(sorted(topics))
        if not topic and len(topics) > 1:
            raise EnetError(f'bag {self.path} has {len(topics)} image topics: choose one: {names}')
        topic = topic or next(iter(topics))
        if topic not in topics:
            raise EnetError(f'bag {self.path} has no image topic {topic}: choose from {names}')
        return ImageTopic(self, topic, topics[topic].count)

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """Yield the messages of `topics`: by time, or in the order of the file if the recording was cut off.

        Raises:
            IncompleteInputError: after the last readable message, if the bag is damaged or not finished.

        """
        return self._read_finished(topics) if self.finished else self._read_unfinished(topics)

    def first(self, topics: Collection[str], count: int = 1) -> dict[str, list[Any]]:
        """Return the first `count` messages of each of `topics` that can be read, an ImageMessageError for a damaged one."""
        found: dict[str, list[Any]] = {topic: [] for topic in topics}
        with suppress(Exception):  # a damaged bag: `messages` says so
            if self.finished:
                with bag_reader(self.storage) as bag:
                    for topic in topics:
                        for connection, _, data in islice(read_topics(bag, [topic]), count):
                            found[topic].append(_deserialize(bag.deserialize, data, connection.msgtype))
            else:
                for recorded in self._read_unfinished(topics):
                    if len(found[recorded.topic]) < count:
                        found[recorded.topic].append(recorded.message)
                    if all(len(found[topic]) >= min(count, self.topics[topic].count) for topic in topics):
                        break
        return found

    def seconds(self, topic: str) -> float:
        """Return the time from the first to the last message of a topic that can be read; 0 without messages."""
        if self.finished:
            with suppress(Exception), bag_reader(self.storage) as bag:  # a damaged bag is read from its start below
                first = next((time for _, time, _ in read_topics(bag, [topic])), None)
                window = 10**9
                while first is not None:  # from the end of the bag, so that little is read
                    start = max(first, bag.end_time - window)
                    if times := [time for _, time, _ in read_topics(bag, [topic], start)]:
                        return (max(times) - first) / 1e9
                    window *= 4
        times = []
        with suppress(IncompleteInputError):
            times.extend(recorded.time for recorded in self.messages([topic]))
        return (max(times) - min(times)) / 1e9 if times else 0.0

    def metadata(self, name: str) -> Iterator[Mapping[str, str]]:
        """Yield the metadata records with this name of all mcap files."""
        for file in [self.storage] if self.storage.is_file() else sorted(self.storage.iterdir()):
            if file.suffix.lower() == '.mcap':
                yield from read_metadata(file, name)

    def _read_finished(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        count, reason = 0, 'the rest is missing'
        total = sum(self.topics[topic].count for topic in topics)
        try:
            with bag_reader(self.storage) as bag:
                for connection, time, data in read_topics(bag, topics):
                    # not deserialized later: the reader forgets its types when it closes
                    message = _deserialize(bag.deserialize, data, connection.msgtype)
                    yield RecordedMessage(connection.topic, time, message)
                    count += 1
        except Exception as error:  # rosbags raises exceptions of many types for a damaged file
            reason, total = one_line(error), max(total, count + 1)
        if count < total:
            raise IncompleteInputError(
                f'bag {self.path} is damaged: {count} of {total} messages were read from {_listed(topics)} ({reason})')

    def _read_unfinished(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        count, scan = 0, McapScan(self.path)
        for msgtype, channel, message in scan:
            if channel.topic in topics:
                read = _deserialize(TYPES.deserialize_cdr, message.data, msgtype)
                yield RecordedMessage(channel.topic, message.log_time, read)
                count += 1
        size = self.path.stat().st_size
        rest = f'; the last {scan.unread} of its {size} bytes cannot be read' if scan.unread else ''
        raise IncompleteInputError(
            f'{self.path} is an incomplete recording: {count} messages were read from {_listed(topics)}{rest}')


@dataclass(frozen=True)
class ImageTopic:
    """The images of one topic of a bag. Iterate it once or more."""

    bag: Bag
    topic: str
    count: int
    """Number of messages."""

    def __iter__(self) -> Iterator[RecordedMessage]:
        """Yield the messages, as `Bag.messages` does."""
        return self.bag.messages([self.topic])


def open_bag(path: Path) -> Bag:
    """Open a bag.

    Raises:
        EnetError: the bag cannot be read.

    """
    for part in path.iterdir() if path.is_dir() else [path]:
        if part.exists() and not (part.is_file() or part.is_dir()):  # a named pipe or a device could block or never end
            raise EnetError(f'cannot read bag {path}: {part.name} is not a regular file')
    if is_unfinished_mcap(path):
        counts = Counter((channel.topic, msgtype) for msgtype, channel, _ in McapScan(path))
        return Bag(path, _topics([(*key, count) for key, count in counts.items()]), False, path)
    folder = None
    try:
        folder = decompressed(path)
        with bag_reader(folder or path) as reader:
            topics = _topics([(each.topic, each.msgtype, each.msgcount) for each in reader.connections])
        bag = Bag(path, topics, True, folder or path)
    except BaseException as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Exception) and not isinstance(error, EnetError):  # of many types for a damaged file
            raise EnetError(refusal(path, error)) from error
        raise
    if folder:
        weakref.finalize(bag, shutil.rmtree, folder, ignore_errors=True)
    return bag


def _topics(counts: Sequence[tuple[str, str, int]]) -> dict[str, Topic]:
    """Return the topics of counts of messages by topic and type.

    Raises:
        TypeError: the bag has a value of another type in its place.

    """
    for name, msgtype, count in counts:
        if not (isinstance(name, str) and isinstance(msgtype, str) and isinstance(count, int)):
            raise TypeError(f'topic {name!r:.40} has the type {msgtype!r:.40} and {count!r:.40} messages')
    types: dict[str, set[str]] = {}
    totals: Counter[str] = Counter()
    for name, msgtype, count in counts:
        types.setdefault(name, set()).add(msgtype)
        totals[name] += count
    return {name: Topic(' and '.join(sorted(types[name])), totals[name]) for name in types}


def _listed(topics: Collection[str]) -> str:
    return ' and '.join(sorted(topics))


def _deserialize(deserialize: Callable[[Any, str], object], data: bytes, msgtype: str) -> object:
    try:
        return deserialize(memoryview(data), msgtype)  # of bytes, rosbags makes a copy
    except Exception as error:  # rosbags raises exceptions of many types for damaged data
        return ImageMessageError(f'the message is damaged: {one_line(error)}')

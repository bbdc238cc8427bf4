"""Read messages, above all images, from a bag: ROS 1 and ROS 2, sqlite3 and mcap.

rosbags reads bags whose recording was finished. For an mcap file that was not finished, the `mcap` package reads every
complete chunk or message: it does not need the index at the end of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError, one_line

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_MCAP_MAGIC = b'\x89MCAP0\r\n'  # the first and the last bytes of a finished file
LABEL_INFO_TYPE = 'vision_msgs/msg/LabelInfo'
_TYPES = get_typestore(Stores.LATEST)  # the image types are the same in every ROS 2 distribution
# not among the types of rosbags, and older bags do not hold the definitions of their types
_TYPES.register({
    **get_types_from_msg('uint16 class_id\nstring class_name', 'vision_msgs/msg/VisionClass'),
    **get_types_from_msg('std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold', LABEL_INFO_TYPE),
})


@dataclass(frozen=True)
class RecordedImage:
    """One message of an image topic."""

    time: int
    """When it was recorded, in nanoseconds since the epoch."""
    message: Any
    """A sensor_msgs Image or CompressedImage; an ImageMessageError if the message is damaged."""


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
    """Such as sensor_msgs/msg/Image; empty if the topic has messages of several types."""
    count: int
    """Number of messages."""


@dataclass(frozen=True)
class Bag:
    """A bag whose topics are known. Its messages are read from the file each time."""

    path: Path
    topics: Mapping[str, Topic]
    finished: bool
    """False for an mcap file whose recording was cut off."""
    seconds: float
    """From its first to its last message."""

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

    def _read_finished(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        count = 0
        try:
            with AnyReader([self.path], default_typestore=_TYPES) as bag:
                connections = [connection for connection in bag.connections if connection.topic in topics]
                for connection, time, data in bag.messages(connections):
                    # not deserialized later: the reader forgets its types when it closes
                    message = _deserialize(bag.deserialize, data, connection.msgtype)
                    yield RecordedMessage(connection.topic, time, message)
                    count += 1
        except Exception as error:  # rosbags raises exceptions of many types for a damaged file
            total = sum(self.topics[topic].count for topic in topics if topic in self.topics)
            raise IncompleteInputError(
                f'bag {self.path} is damaged: {count} of {total} messages were read ({one_line(error)})'
            ) from error

    def _read_unfinished(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        count = 0
        for msgtype, channel, message in _mcap_messages(self.path):
            if channel.topic in topics and msgtype == self.topics[channel.topic].msgtype:
                read = _deserialize(_TYPES.deserialize_cdr, message.data, msgtype)
                yield RecordedMessage(channel.topic, message.log_time, read)
                count += 1
        raise IncompleteInputError(f'{self.path} is an incomplete recording: {count} messages were read')


@dataclass(frozen=True)
class ImageTopic:
    """The images of one topic of a bag. Iterate it once or more."""

    bag: Bag
    topic: str
    count: int
    """Number of messages."""

    def __iter__(self) -> Iterator[RecordedImage]:
        """Yield the messages, as `Bag.messages` does."""
        return (RecordedImage(entry.time, entry.message) for entry in self.bag.messages([self.topic]))


def open_bag(path: Path) -> Bag:
    """Open a bag.

    Raises:
        EnetError: the bag cannot be read.

    """
    if not is_unfinished_mcap(path):
        return _open_finished(path)
    counts: Counter[tuple[str, str]] = Counter()
    first = last = 0
    for msgtype, channel, message in _mcap_messages(path):
        counts[channel.topic, msgtype] += 1
        first = first or message.log_time
        last = message.log_time
    topics: dict[str, Topic] = {}
    for (name, msgtype), count in counts.items():
        topics[name] = Topic('', topics[name].count + count) if name in topics else Topic(msgtype, count)
    return Bag(path, topics, False, (last - first) / 1e9)


def is_unfinished_mcap(path: Path) -> bool:
    """Return whether `path` starts as an mcap file but does not end as a finished one."""
    if path.suffix.lower() != '.mcap' or not path.is_file():
        return False
    with path.open('rb') as file:
        start = file.read(len(_MCAP_MAGIC))
        file.seek(max(len(_MCAP_MAGIC), path.stat().st_size - len(_MCAP_MAGIC)))
        return start == _MCAP_MAGIC and file.read() != _MCAP_MAGIC


def _open_finished(path: Path) -> Bag:
    try:
        with AnyReader([path], default_typestore=_TYPES) as reader:
            topics = {name: Topic(info.msgtype or '', info.msgcount) for name, info in reader.topics.items()}
            seconds = reader.duration / 1e9 if reader.message_count else 0.0
            return Bag(path, topics, True, seconds)
    except Exception as error:  # rosbags raises exceptions of many types for a damaged file
        parts = sorted(path.iterdir()) if path.is_dir() else ()
        unfinished = next((part for part in parts if is_unfinished_mcap(part)), None)
        if unfinished:
            raise EnetError(f'bag {path} is an incomplete recording: pass {unfinished} directly') from error
        remedy = ''
        if path.suffix == '.db3':
            remedy = f'; recover it with: sqlite3 {path} .recover | sqlite3 recovered.db3'
        raise EnetError(f'cannot read bag {path}: {one_line(error)}{remedy}') from error


def _mcap_messages(path: Path) -> Iterator[tuple[str, Channel, Message]]:
    """Yield type, channel and message of all that can be read from an unfinished mcap file, in the order of the file."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with path.open('rb') as file:
        records = StreamReader(file, validate_crcs=True).records
        while True:
            try:
                record = next(records)
            except Exception:  # the end: a record that was cut off can raise almost any exception
                return
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message) and (channel := channels.get(record.channel_id)):
                schema = schemas.get(channel.schema_id)
                yield schema.name if schema else '', channel, record


def _deserialize(deserialize: Callable[[bytes, str], object], data: bytes, msgtype: str) -> object:
    try:
        return deserialize(data, msgtype)
    except Exception as error:  # likewise
        return ImageMessageError(f'the message is damaged: {one_line(error)}')

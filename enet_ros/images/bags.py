"""Read the images of one topic from a bag: ROS 1 and ROS 2, sqlite3 and mcap.

rosbags reads bags whose recording was finished. For an mcap file that was not finished, the `mcap` package reads every
complete chunk or message: it does not need the index at the end of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError, one_line

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_MCAP_MAGIC = b'\x89MCAP0\r\n'  # the first and the last bytes of a finished file
_TYPES = get_typestore(Stores.LATEST)  # the image types are the same in every ROS 2 distribution


@dataclass(frozen=True)
class RecordedImage:
    """One message of an image topic."""

    time: int
    """When it was recorded, in nanoseconds since the epoch."""
    message: Any
    """A sensor_msgs Image or CompressedImage; an ImageMessageError if the message is damaged."""


@dataclass(frozen=True)
class ImageTopic:
    """The images of one topic of a bag. Iterate it once or more."""

    path: Path
    topic: str
    count: int
    """Number of messages."""
    finished: bool
    """False for an mcap file whose recording was cut off."""

    def __iter__(self) -> Iterator[RecordedImage]:
        """Yield the messages: by time, or in the order of the file if the recording was cut off.

        Raises:
            IncompleteInputError: after the last readable message, if the bag is damaged or not finished.

        """
        return self._read_finished() if self.finished else self._read_unfinished()

    def _read_finished(self) -> Iterator[RecordedImage]:
        count = 0
        try:
            with AnyReader([self.path], default_typestore=_TYPES) as bag:
                connections = [connection for connection in bag.connections if connection.topic == self.topic]
                for connection, time, data in bag.messages(connections):
                    # not deserialized later: the reader forgets its types when it closes
                    yield RecordedImage(time, _deserialize(bag.deserialize, data, connection.msgtype))
                    count += 1
        except Exception as error:  # rosbags raises exceptions of many types for a damaged file
            raise IncompleteInputError(
                f'bag {self.path} is damaged: {count} of {self.count} images were read ({one_line(error)})'
            ) from error

    def _read_unfinished(self) -> Iterator[RecordedImage]:
        count = 0
        for msgtype, channel, message in _mcap_messages(self.path):
            if channel.topic == self.topic and msgtype in IMAGE_TYPES:
                yield RecordedImage(message.log_time, _deserialize(_TYPES.deserialize_cdr, message.data, msgtype))
                count += 1
        raise IncompleteInputError(f'{self.path} is an incomplete recording: {count} images were read')


def open_bag(path: Path, topic: str = '') -> ImageTopic:
    """Open a bag for its only image topic, or for `topic`.

    Raises:
        EnetError: the bag cannot be read, or `topic` does not choose one of its image topics.

    """
    finished = not is_unfinished_mcap(path)
    topics = _topics(path) if finished else Counter(
        channel.topic for msgtype, channel, _ in _mcap_messages(path) if msgtype in IMAGE_TYPES
    )
    if not topics:
        if finished:
            raise EnetError(f'bag {path} has no topic with images')
        raise EnetError(f'{path} is an incomplete recording without an image that can be read')
    names = ', '.join(sorted(topics))
    if not topic and len(topics) > 1:
        raise EnetError(f'bag {path} has {len(topics)} image topics: choose one with --topic: {names}')
    topic = topic or next(iter(topics))
    if topic not in topics:
        raise EnetError(f'bag {path} has no image topic {topic}: choose from {names}')
    return ImageTopic(path, topic, topics[topic], finished)


def is_unfinished_mcap(path: Path) -> bool:
    """Return whether `path` starts as an mcap file but does not end as a finished one."""
    if path.suffix.lower() != '.mcap' or not path.is_file():
        return False
    with path.open('rb') as file:
        start = file.read(len(_MCAP_MAGIC))
        file.seek(max(len(_MCAP_MAGIC), path.stat().st_size - len(_MCAP_MAGIC)))
        return start == _MCAP_MAGIC and file.read() != _MCAP_MAGIC


def _topics(path: Path) -> dict[str, int]:
    """Return the image topics of a finished bag and how many messages each has."""
    try:
        with AnyReader([path], default_typestore=_TYPES) as reader:
            return {name: info.msgcount for name, info in reader.topics.items() if info.msgtype in IMAGE_TYPES}
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

"""Open finished bags with rosbags, and the types of messages that older bags do not define.

Importing this module replaces the decompressors and the reader of QoS profiles of rosbags for the whole process.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.rosbag1 import reader as ros1_reader
from rosbags.rosbag2 import reader as ros2_reader
from rosbags.rosbag2 import storage_mcap, storage_sqlite3
from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from enet_ros.errors import one_line
from enet_ros.images.bag_compression import expanded
from enet_ros.images.mcap_chunks import McapChunkReader
from enet_ros.images.mcap_scan import is_unfinished_mcap

LABEL_INFO_TYPE = 'vision_msgs/msg/LabelInfo'
TYPES = get_typestore(Stores.LATEST)
"""The image types are the same in every ROS 2 distribution."""
# not among the types of rosbags, and older bags do not hold the definitions of their types
TYPES.register({
    **get_types_from_msg('uint16 class_id\nstring class_name', 'vision_msgs/msg/VisionClass'),
    **get_types_from_msg('std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold', LABEL_INFO_TYPE),
})

# rosbags has no limits, and no options for them
storage_mcap.DECOMPRESSORS.update({
    'lz4': lambda data, size: expanded(data, 'lz4', size), 'zstd': lambda data, size: expanded(data, 'zstd', size)})
ros1_reader.decompressors.update({name: partial(expanded, compression=name) for name in ('bz2', 'lz4')})
for _module in (ros2_reader, storage_mcap, storage_sqlite3):
    # QoS profiles are YAML, which can expand to gigabytes, and are not needed here
    setattr(_module, 'parse_qos', lambda _: [])  # noqa: B010 - mypy refuses an assignment


class _FolderReader(DirectoryReader):
    """The reader of rosbags for folders, with other readers of their files."""

    STORAGE_PLUGINS = {**DirectoryReader.STORAGE_PLUGINS, 'mcap': McapChunkReader}

    def open(self) -> None:
        """Open the bag. Its messages are decompressed here: rosbags does it without limits."""
        super().open()
        self._has_compressed_messages = self.metadata.compression_mode == 'message'
        self.metadata = self.metadata._replace(compression_mode=None)

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Yield the messages of `connections` from the time `start` to before `stop`."""
        for connection, time, data in super().messages(connections, start, stop):
            yield connection, time, expanded(data, 'zstd') if self._has_compressed_messages else data


def bag_reader(path: Path) -> AnyReader:
    """Return a reader of a finished bag, to be opened with `with`. Many types of exceptions mean that it cannot be read."""
    bag = AnyReader([path], default_typestore=TYPES)
    for reader in bag.readers:
        if isinstance(reader, Reader):  # of ROS 2
            if isinstance(reader.storage, McapReader):
                reader.storage = McapChunkReader(path)
            elif isinstance(reader.storage, DirectoryReader):
                reader.storage = _FolderReader(path)
    return bag


def read_topics(bag: AnyReader, topics: Iterable[str], start: int | None = None) -> Iterator[tuple[Connection, int, bytes]]:
    """Yield connection, time of recording in nanoseconds and data of each message of `topics`, from the time `start` on.

    Many types of exceptions mean that the bag is damaged.
    """
    wanted = set(topics)
    connections = [connection for connection in bag.connections if connection.topic in wanted]
    # without connections it would read all topics
    for connection, time, data in bag.messages(connections, start) if connections else ():
        if not isinstance(time, int):  # a cell of sqlite3 can be of any type
            raise TypeError(f'a time of recording is {time!r:.40}')
        yield connection, time, data


def refusal(path: Path, error: Exception) -> str:
    """Return why `bag_reader` cannot open a bag, and what to do."""
    parts = sorted(path.iterdir()) if path.is_dir() else []
    if unfinished := next((part for part in parts if is_unfinished_mcap(part)), None):
        return f'bag {path} is an incomplete recording: pass {unfinished} directly'
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        files = [part for part in parts if part.suffix in ('.mcap', '.db3')]
        remedy = f': pass {files[0]} directly, or run: ros2 bag reindex {path}' if files else ' and no .mcap or .db3 file'
        return f'cannot read bag {path}: it has no metadata.yaml{remedy}'
    remedies = {
        '.mcap': '; check that it is an mcap file and is complete',
        '.db3': f'; recover it with: sqlite3 {path} .recover | sqlite3 recovered.db3',
        '.zstd': f'; decompress it with: zstd -d {path}',
    }
    # rosbags looks up the format of message definitions in a table; other keys are numbers in a damaged file
    is_foreign = isinstance(error, KeyError) and isinstance(error.args[0], str)
    reason = f'rosbags does not support {error}' if is_foreign else one_line(error) + remedies.get(path.suffix, '')
    return f'cannot read bag {path}: {reason}'

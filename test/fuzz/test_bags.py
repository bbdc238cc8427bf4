"""Bags of all kinds: what can be read of them is read, the rest is refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from fuzz_inputs import damaged, reads, values, yaml_files
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import STORE, image_message, recorded_at, write_mcap
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import write_entries

from enet_ros.images.bag_frames import BagImages
from enet_ros.images.bags import Bag, open_bag
from enet_ros.labels import CAMVID
from enet_ros.replay.fingerprint import fingerprint
from enet_ros.replay.recording import Selection, open_recording

_FEWER = settings(max_examples=settings.default.max_examples // 2)
_FRAMES = 3
_MOST = 1000
"""Messages. Damage can repeat some, but not without limit."""


def _read_bag(path: Path) -> None:
    """Read a bag in all ways that commands do, and check what they take from it."""
    bag = reads(lambda: open_bag(path))
    if bag is None:
        return
    reads(lambda: list(bag.metadata('enet_ros')))
    for topic in bag.image_topics():
        reads(lambda topic=topic: bag.seconds(topic))
        reads(lambda topic=topic: bag.first([topic], 2))
        _read_frames(bag, topic)
    recording = reads(lambda: open_recording(path, Selection(next(iter(bag.topics), '')), None, CAMVID))
    if recording is not None:
        assert len(reads(lambda: list(recording)) or ()) < _MOST
    reads(lambda: fingerprint(path))


def _read_frames(bag: Bag, topic: str) -> None:
    frames = []
    reads(lambda: frames.extend(BagImages(bag.images(topic))))  # an incomplete bag says so after its last frame
    assert len(frames) < _MOST
    for frame in frames:
        pixels = reads(frame.decode)
        assert pixels is None or (pixels.ndim == 3 and pixels.shape[2] == 3)


_KINDS: dict[str, dict[str, object]] = {
    'compressed': {}, 'uncompressed': {'compress': False}, 'unchunked': {'chunk_size': None},
    'unfinished': {'finish': False},
}


@_FEWER
@pytest.mark.parametrize('kind', _KINDS)
@given(data=st.data())
def test_an_mcap_file_is_read_or_refused(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', _FRAMES, **_KINDS[kind])
    path.write_bytes(data.draw(damaged(path.read_bytes(), 20_000)))
    _read_bag(path)


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return bags with a database, a raw and a compressed topic, by what is compressed."""
    topics = {'/image': 'Image', '/image/compressed': 'CompressedImage'}
    entries = [(topic, f'sensor_msgs/msg/{kind}', recorded_at(number), image_message(number, kind))
               for topic, kind in topics.items() for number in range(_FRAMES)]
    return {mode.name.lower(): write_entries(tmp_path_factory.mktemp('bags') / 'drive', entries, StoragePlugin.SQLITE3, mode)
            for mode in (CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE)}


def _copy(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(folder, to))


_compressions = pytest.mark.parametrize('compression', ['none', 'message', 'file'])


@_FEWER
@_compressions
@given(data=st.data())
def test_a_damaged_database_is_read_or_refused(
    data: st.DataObject, compression: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = _copy(folders[compression], tmp_path / 'drive')
    (file,) = copy.glob('*.db3*')
    file.write_bytes(data.draw(damaged(file.read_bytes(), 1000 if compression == 'file' else 8192)))
    _read_bag(data.draw(st.sampled_from((copy, file))))


@_FEWER
@_compressions
@given(data=st.data())
def test_a_bag_with_another_index_is_read_or_refused(
    data: st.DataObject, compression: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = _copy(folders[compression], tmp_path / 'drive')
    index = copy / 'metadata.yaml'
    index.write_bytes(data.draw(yaml_files(yaml.safe_load(index.read_text()))))
    _read_bag(copy)


_COLUMNS = {
    'messages': ('topic_id', 'timestamp', 'data'), 'schema': ('schema_version',),
    'message_definitions': ('topic_type', 'encoding', 'encoded_message_definition'),
    'topics': ('id', 'name', 'type', 'serialization_format', 'offered_qos_profiles', 'type_description_hash'),
}
_WORDS = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'std_msgs/msg/String', 'x/y', 'x/msg/y', '', 'ros2msg',
          'é')
_CELLS = (st.none() | st.integers(-2**63, 2**63 - 1) | st.floats() | st.binary(max_size=50) | st.sampled_from(_WORDS)
          | st.text(st.characters(codec='utf-8'), max_size=20))


@_FEWER
@given(data=st.data())
def test_a_database_with_other_values_is_read_or_refused(
    data: st.DataObject, folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = _copy(folders['none'], tmp_path / 'drive')
    (file,) = copy.glob('*.db3')
    database = sqlite3.connect(file)
    for _ in range(data.draw(st.integers(1, 3))):
        table = data.draw(st.sampled_from(sorted(_COLUMNS)))
        column = data.draw(st.sampled_from(_COLUMNS[table]))
        where = data.draw(st.sampled_from(('', ' WHERE rowid = 1')))
        with suppress(sqlite3.IntegrityError):  # ids are numbers
            database.execute(f'UPDATE OR IGNORE {table} SET {column} = ?{where}', [data.draw(_CELLS)])
    database.commit()
    database.close()
    _read_bag(data.draw(st.sampled_from((copy, file))))


@pytest.fixture(scope='module')
def ros1(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a bag of ROS 1."""
    path = tmp_path_factory.mktemp('bags') / 'drive.bag'
    with Ros1Writer(path) as writer:
        connection = writer.add_connection('/image', 'sensor_msgs/msg/Image', typestore=STORE)
        for number in range(_FRAMES):
            message = STORE.deserialize_cdr(image_message(number), 'sensor_msgs/msg/Image')
            writer.write(connection, recorded_at(number), STORE.serialize_ros1(message, 'sensor_msgs/msg/Image'))
    return path.read_bytes()


@_FEWER
@given(data=st.data())
def test_a_bag_of_ros_1_is_read_or_refused(data: st.DataObject, ros1: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'drive.bag'
    path.write_bytes(data.draw(damaged(ros1, 20_000)))
    _read_bag(path)


@_FEWER
@given(value=values, name=st.sampled_from(('drive.mcap', 'drive.db3', 'drive.bag', 'drive')))
def test_what_is_not_a_bag_is_refused(value: object, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(repr(value).encode(errors='replace'))
    _read_bag(path)

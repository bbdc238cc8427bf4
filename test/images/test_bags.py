from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import mcap.writer
import pytest
from mcap.well_known import MessageEncoding, SchemaEncoding
from recordings import STORE, cut, image_message, recorded_at, write_bag, write_mcap
from resource_limits import memory_limit
from rosbags.rosbag2 import StoragePlugin, Writer

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError
from enet_ros.images.bags import ImageTopic, RecordedMessage, open_bag
from enet_ros.images.mcap_scan import is_unfinished_mcap


def read(images: ImageTopic) -> tuple[list[RecordedMessage], str]:
    """Return the messages that can be read and how reading ended."""
    messages = []
    try:
        for recorded in images:
            messages.append(recorded)
    except IncompleteInputError as error:
        return messages, str(error)
    return messages, ''


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda s: s.name)
def test_a_finished_bag_gives_messages_and_times_and_no_error(storage: StoragePlugin, tmp_path: Path) -> None:
    images = open_bag(write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3, storage)).images()
    for _ in range(2):  # it can be read again
        messages, end = read(images)
        assert [recorded.time for recorded in messages] == [recorded_at(number) for number in range(3)]
        assert messages[0].message.encoding == 'rgb8' and not end
    assert images.count == 3


@pytest.mark.parametrize('chunk_size', [20_000, None], ids=['chunks', 'no chunks'])
def test_an_unfinished_mcap_gives_every_complete_message(chunk_size: int | None, tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / 'whole.mcap', 20, chunk_size=chunk_size)
    assert len(read(open_bag(whole).images())[0]) == 20
    path = write_mcap(tmp_path / 'drive.mcap', 20, chunk_size=chunk_size, finish=False)
    images = open_bag(path).images()
    messages, end = read(images)
    # the last chunk was never written
    assert len(messages) == images.count and (10 <= len(messages) <= 20 if chunk_size else len(messages) == 20)
    assert [recorded.time for recorded in messages] == [recorded_at(number) for number in range(len(messages))]
    assert all(recorded.message.width == 48 for recorded in messages)
    assert end == f'{path} is an incomplete recording: {len(messages)} messages were read from /image'


@pytest.mark.parametrize('chunk_size', [20_000, None], ids=['chunks', 'no chunks'])
def test_an_mcap_that_is_cut_anywhere_gives_what_is_before_the_cut(chunk_size: int | None, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20, chunk_size=chunk_size)
    whole = path.read_bytes()
    counts = []
    for size in range(len(whole) * 3 // 10, len(whole), len(whole) // 11):  # in chunks, messages and the index
        path.write_bytes(whole[:size])
        messages, end = read(open_bag(path).images())
        assert f'{len(messages)} messages were read' in end
        assert all(recorded.message.width == 48 for recorded in messages)
        counts.append(len(messages))
    assert counts == sorted(counts) and len(set(counts)) >= 3


BOMB = 'a: &a {x: 1, y: 2}\n' + ''.join(
    f'{name}: &{name} {{<<: [{", ".join([f"*{before}"] * 9)}]}}\n' for before, name in zip('abcdefg', 'bcdefgh'))


@pytest.mark.parametrize(('text', 'reason'), [
    (BOMB, 'more than 200000 values'),
    ('a: ' + '[' * 5000, 'more than 100 levels'),
], ids=['aliases', 'too deep'])
def test_a_bag_with_an_index_without_bounds_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 2)
    with (path / 'metadata.yaml').open('a') as file:
        file.write(text)
    with memory_limit(100 * 2**20), pytest.raises(EnetError, match=f'cannot read bag {path}: .*{reason}'):
        open_bag(path)


@pytest.mark.parametrize('name', ['drive/metadata.yaml', 'drive/x.mcap', 'x.mcap', 'x.db3'])
def test_a_bag_that_is_or_has_a_named_pipe_is_refused(name: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 2)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    bag = path if 'drive' in name else tmp_path / name
    with pytest.raises(EnetError, match=f'cannot read bag {bag}: {Path(name).name} is not a regular file'):
        open_bag(bag)


def test_an_mcap_that_is_cut_before_its_first_image_is_refused(tmp_path: Path) -> None:
    path = cut(write_mcap(tmp_path / 'drive.mcap', 5), 60)
    with pytest.raises(EnetError, match=r'drive\.mcap is an incomplete recording without an image'):
        open_bag(path).images()


def test_an_mcap_with_a_damaged_chunk_gives_the_images_before_it(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    path.write_bytes(data)
    messages, end = read(open_bag(path).images())
    assert 0 < len(messages) < 20 and f'damaged: {len(messages)} of 20 messages were read' in end


def test_a_damaged_chunk_of_an_unfinished_mcap_is_not_used(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20, finish=False, compress=False)
    before = len(read(open_bag(path).images())[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF  # a pixel: only the checksum of the chunk shows the damage
    path.write_bytes(data)
    messages, end = read(open_bag(path).images())
    assert 0 < len(messages) < before and f'{len(messages)} messages were read' in end


def test_a_damaged_byte_never_raises_anything_but_an_enet_error(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20)
    whole = path.read_bytes()
    for end in (len(whole), len(whole) - 8):  # finished and unfinished
        for start in range(0, end - 100, len(whole) // 12):
            path.write_bytes(whole[:start] + b'\xff' * 100 + whole[start + 100 : end])
            try:
                _, text = read(open_bag(path).images())
            except EnetError as error:
                text = str(error)
            assert '\n' not in text


def test_a_damaged_message_is_returned_as_an_error_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/image', 'sensor_msgs/msg/Image', typestore=STORE)
        for time, data in enumerate((b'\0\1\0\0cut off', b'', image_message(0)), 1):
            writer.write(connection, time, data)
    (first, second, third), end = read(open_bag(path).images())
    assert isinstance(first.message, ImageMessageError) and isinstance(second.message, ImageMessageError)
    assert third.message.width == 48 and not end


def test_a_bag_whose_mcap_is_unfinished_names_the_file_to_pass(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 20)
    (file,) = path.glob('*.mcap')
    cut(file, file.stat().st_size - 1000)
    assert is_unfinished_mcap(file)
    with pytest.raises(EnetError, match=f'incomplete recording: pass {file} directly'):
        open_bag(path).images()


@pytest.mark.parametrize('share', [0.2, 0.5, 0.9])
def test_a_cut_sqlite3_bag_is_one_line_with_a_remedy(share: float, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 40, StoragePlugin.SQLITE3)
    (file,) = path.glob('*.db3')
    cut(file, int(file.stat().st_size * share))
    for bag in (file, path):
        try:
            messages, text = read(open_bag(bag).images())
            assert 0 < len(messages) < 40
        except EnetError as error:
            text = str(error)
        assert 'drive' in text and 'malformed' in text and '\n' not in text


def test_a_sqlite3_bag_with_a_time_of_text_is_damaged(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3, StoragePlugin.SQLITE3)
    with sqlite3.connect(next(path.glob('*.db3'))) as database:
        database.execute("UPDATE messages SET timestamp = 'late' WHERE id = 2")
    database.close()
    bag = open_bag(path)
    messages, text = read(bag.images())
    assert [recorded.time for recorded in messages] == [recorded_at(0), recorded_at(2)]
    assert text == f"bag {path} is damaged: 2 of 3 messages were read from /image (a time of recording is 'late')"
    assert bag.seconds('/image') == 0.4


@pytest.mark.parametrize(('key', 'value'), [('name', '.inf'), ('type', '[]'), ('message_count', '1.5')])
def test_an_index_with_a_topic_of_other_types_is_refused(key: str, value: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image', '/other': 'Image'}, 1)
    index = path / 'metadata.yaml'
    before, _, after = index.read_text().rpartition(f'{key}: ')
    index.write_text(f'{before}{key}: {value}\n{after.partition(chr(10))[2]}')
    with pytest.raises(EnetError, match=rf'^cannot read bag {path}: ') as raised:
        open_bag(path)
    assert '\n' not in str(raised.value)


def test_a_bag_with_several_image_topics_asks_for_one(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/left': 'Image', '/right': 'CompressedImage'}, 2)
    with pytest.raises(EnetError, match='choose one: /left, /right'):
        open_bag(path).images()
    assert open_bag(path).images('/right').count == 2
    with pytest.raises(EnetError, match='no image topic /up: choose from /left, /right'):
        open_bag(path).images('/up')


def test_an_mcap_with_messages_that_are_not_of_ros_names_their_format(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    with path.open('wb') as file:
        writer = mcap.writer.Writer(file)
        writer.start(profile='ros2')
        schema = writer.register_schema('foxglove.CompressedImage', SchemaEncoding.Protobuf, b'')
        writer.add_message(writer.register_channel('/image', MessageEncoding.Protobuf, schema), 1, b'', 1)
        writer.finish()
    with pytest.raises(EnetError, match=f"^cannot read bag {path}: rosbags does not support 'protobuf'$"):
        open_bag(path)



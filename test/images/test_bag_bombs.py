"""Bags of kilobytes that would expand to gigabytes."""

from __future__ import annotations

import bz2
import json
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import lz4.frame
import pytest
import yaml
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk
from recordings import STORE, image_message, recorded_at
from resource_limits import peak_memory
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import IMAGE, frame, write_entries, write_topics

from enet_ros.errors import EnetError
from enet_ros.images.bag_compression import MOST_BYTES
from enet_ros.images.bags import open_bag

MEGABYTE = 2**20
_SIZE = 500 * MEGABYTE
"""What a bomb of the tests would expand to: more than the limit of a message."""
_ALIASES = 'a: &a {x: 1, y: 2}\n' + ''.join(
    f'{name}: &{name} {{<<: [{", ".join([f"*{before}"] * 9)}]}}\n' for before, name in zip('abcdefg', 'bcdefgh'))
"""YAML of 400 bytes that would expand to millions of keys."""


def zeros(compressor: Callable[[], object]) -> bytes:
    """Return compressed zeros."""
    started = compressor()
    parts = [getattr(started, 'begin', bytes)()]
    parts.extend(started.compress(bytes(MEGABYTE)) for _ in range(_SIZE // MEGABYTE))
    return b''.join((*parts, started.flush()))


BOMBS = {
    'zstd': zeros(partial(zstandard.ZstdCompressor().compressobj, _SIZE)), 'lz4': zeros(lz4.frame.LZ4FrameCompressor),
    'zstd without size': zeros(zstandard.ZstdCompressor().compressobj), 'bz2': zeros(bz2.BZ2Compressor),
}



storages = pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda storage: storage.name)


def read(path: Path, memory: int = 30 * MEGABYTE) -> tuple[int, str]:
    """Return how many images can be read with `memory` bytes, and why not more."""
    count, reason = 0, ''
    with peak_memory() as used:
        try:
            for _ in open_bag(path).messages(['/image']):
                count += 1
        except EnetError as error:
            reason = str(error)
    assert used.bytes < memory
    return count, reason


def write_images(path: Path, storage: StoragePlugin, data: list[bytes]) -> Path:
    return write_entries(path, [('/image', IMAGE, recorded_at(number), entry) for number, entry in enumerate(data)], storage)


def change_index(path: Path, **fields: object) -> None:
    index = path / 'metadata.yaml'
    content = yaml.safe_load(index.read_text())
    content['rosbag2_bagfile_information'].update(fields)
    index.write_text(yaml.safe_dump(content))


_WITHOUT_SIZE = 2 * MOST_BYTES + 30 * MEGABYTE
"""Most memory if the compressed data does not state its size."""


@storages
def test_a_compressed_message_that_expands_to_gigabytes_is_not_read(storage: StoragePlugin, tmp_path: Path) -> None:
    images = [zstandard.compress(image_message(number)) for number in range(3)]
    path = write_images(tmp_path / 'drive', storage, [*images[:2], BOMBS['zstd'], images[2]])
    change_index(path, compression_mode='MESSAGE', compression_format='zstd')
    assert read(path) == (2, f'bag {path} is damaged: 2 of 4 messages were read from /image (a message or chunk expands to '
                             'more than 416777216 bytes: leave it out with "ros2 bag convert")')


@storages
def test_a_compressed_message_that_does_not_state_its_size_is_read_up_to_the_limit(
    storage: StoragePlugin, tmp_path: Path
) -> None:
    whole = zstandard.ZstdCompressor(write_content_size=False).compress(image_message(0))
    path = write_images(tmp_path / 'drive', storage, [whole, BOMBS['zstd without size'], whole])
    change_index(path, compression_mode='message', compression_format='zstd')
    count, reason = read(path, _WITHOUT_SIZE)
    assert count == 1 and reason.startswith(f'bag {path} is damaged: 1 of 3 messages were read from /image (')


@storages
@pytest.mark.parametrize('is_named', [True, False], ids=['zstd suffix', 'no suffix'])
def test_a_compressed_file_that_expands_to_gigabytes_is_not_written(
    storage: StoragePlugin, is_named: bool, tmp_path: Path
) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number) for number in range(3))), storage, CompressionMode.FILE)
    (file,) = path.glob('*.zstd')
    file.write_bytes(BOMBS['zstd'])
    if not is_named:
        change_index(path, relative_file_paths=[file.rename(file.with_suffix('')).name])
    count, reason = read(path)
    assert count == 0 and reason.startswith(f'cannot decompress bag {path}: ') and 'zstd -d' in reason


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
@pytest.mark.parametrize('is_finished', [True, False], ids=['finished', 'cut off'])
def test_a_chunk_of_an_mcap_file_without_index_is_not_expanded_to_gigabytes(
    compression: str, is_finished: bool, tmp_path: Path
) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(4))), indexed=False)
    record = RecordBuilder()
    Chunk(compression, BOMBS[compression], 0, 0, 0, 100).write(record)
    path.write_bytes(whole[:-37] + record.end() + (whole[-37:] if is_finished else b''))  # before DataEnd, Footer, magic
    count, reason = read(path)
    assert reason and '\n' not in reason and count in (0, 4)


@pytest.mark.parametrize('compression', ['bz2', 'lz4'])
def test_a_chunk_of_a_bag_of_ros_1_is_not_expanded_to_gigabytes(compression: str, tmp_path: Path) -> None:
    path = tmp_path / 'drive.bag'
    writer = Ros1Writer(path)
    writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
    writer.chunk_threshold = 1
    with writer:
        connection = writer.add_connection('/image', IMAGE, typestore=STORE)
        for number in range(4):
            if number == 2:
                writer.compressor = lambda _: BOMBS[compression]
            message = STORE.deserialize_cdr(image_message(number), IMAGE)
            writer.write(connection, recorded_at(number), STORE.serialize_ros1(message, IMAGE))
    count, reason = read(path, _WITHOUT_SIZE)
    assert count == 2 and 'a message or chunk expands to more than' in reason


def test_qos_profiles_of_an_index_are_not_expanded(tmp_path: Path) -> None:
    path = write_images(tmp_path / 'drive', StoragePlugin.MCAP, [image_message(0)])
    index = path / 'metadata.yaml'
    index.write_text(index.read_text().replace('offered_qos_profiles: []', f'offered_qos_profiles: {json.dumps(_ALIASES)}'))
    assert read(path) == (1, '')


def test_qos_profiles_of_a_database_are_not_expanded(tmp_path: Path) -> None:
    path = write_images(tmp_path / 'drive', StoragePlugin.SQLITE3, [image_message(0)])
    (file,) = path.glob('*.db3')
    with sqlite3.connect(file) as database:
        database.execute('UPDATE topics SET offered_qos_profiles = ?', [_ALIASES])
    database.close()
    assert read(path) == read(file) == (1, '')


@pytest.mark.parametrize('indexed', [True, False], ids=['index', 'no index'])
def test_qos_profiles_of_an_mcap_file_are_not_expanded(indexed: bool, tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    write_topics(path, frame(0), indexed=indexed, qos=_ALIASES)
    assert read(path) == (1, '')

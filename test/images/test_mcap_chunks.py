"""Finished mcap files: order of the messages, and memory."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from recordings import recorded_at, write_mcap
from resource_limits import peak_memory
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import IMAGE, frame, image, write_entries, write_topics

from enet_ros.errors import IncompleteInputError
from enet_ros.images.bags import Bag, open_bag


def stamps(bag: Bag, *topics: str) -> list[int]:
    return [recorded.message.header.stamp.sec for recorded in bag.messages(topics)]


@pytest.mark.parametrize('is_folder', [False, True], ids=['file', 'folder'])
def test_messages_with_one_time_are_read_in_flat_memory(is_folder: bool, tmp_path: Path) -> None:
    path, count, pixels = tmp_path / 'drive', 60, np.zeros((1000, 1000), np.uint8)
    entries = [('/image', IMAGE, recorded_at(0), image(pixels, 'mono8', 1.0 + number)) for number in range(count)]
    if is_folder:
        write_entries(path, entries, StoragePlugin.MCAP, CompressionMode.STORAGE)
    else:
        path = path.with_suffix('.mcap')
        write_topics(path, entries)
    bag = open_bag(path)
    with peak_memory() as used:
        assert bag.seconds('/image') == 0
        assert len(bag.first(['/image'])['/image']) == 1
        assert sum(recorded.message.width for recorded in bag.messages(['/image'])) == count * 1000
    assert used.bytes < 15_000_000  # the images have 60 MB


def test_messages_come_by_time_and_with_one_time_by_place(tmp_path: Path) -> None:
    times = [5, 5, 7, 7, 6, 6, 5, 5]  # of messages in a chunk each, and of two in one chunk
    entries = [(topic, kind, recorded_at(time), data) for number, time in enumerate(times)
               for topic, kind, _, data in frame(number) if topic == '/image']
    path = tmp_path / 'drive.mcap'
    write_topics(path, entries)
    expected = sorted(range(len(times)), key=lambda number: times[number])
    assert stamps(open_bag(path), '/image') == [1 + number for number in expected]


def test_chunks_that_overlap_are_merged(tmp_path: Path) -> None:
    by_topic = sorted((entry for number in range(12) for entry in frame(number)), key=lambda entry: entry[0])
    path = tmp_path / 'drive.mcap'
    write_topics(path, by_topic)  # first all images, then all labels
    assert stamps(open_bag(path), '/image', '/labels') == [1 + number // 2 for number in range(24)]
    assert stamps(open_bag(path), '/labels') == list(range(1, 13))


@pytest.mark.parametrize('finish', [True, False], ids=['finished', 'cut off'])
def test_a_small_chunk_that_expands_to_gigabytes_is_not_read(finish: bool, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 40, finish=finish)
    data = bytearray(path.read_bytes())
    places = [match.start() for match in re.finditer(rb'\x04\0\0\0zstd', data)]  # after size and checksum of a chunk
    place = places[len(places) // 2 - 1 if finish else -1]  # of the last chunk; a finished file also has an index
    data[place - 12 : place - 4] = (10**10).to_bytes(8, 'little')
    path.write_bytes(data)
    with peak_memory() as used:
        found: list[int] = []
        with pytest.raises(IncompleteInputError):
            for recorded in open_bag(path).messages(['/image']):
                found.append(recorded.time)
    assert 0 < len(found) < 40 and used.bytes < 10_000_000

"""Frames of real bags and their ground truth."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from recorded_frames import frames, numbers, opened
from recordings import recorded_at, write_bag
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from truth_bags import IMAGE, LABEL_INFO, frame, image, label_info, scene, write_entries, write_topics

from enet_ros.errors import EnetError, ImageError
from enet_ros.replay.recording import Selection


@pytest.mark.parametrize('storage', list(StoragePlugin), ids=lambda value: value.name)
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE],
                         ids=lambda value: value.name)
def test_every_frame_has_its_image_and_ground_truth(
    storage: StoragePlugin, compression: CompressionMode, tmp_path: Path
) -> None:
    if storage is StoragePlugin.MCAP and compression is CompressionMode.MESSAGE:
        compression = CompressionMode.STORAGE  # mcap compresses its chunks itself
    path = write_entries(tmp_path / 'drive', chain(*(frame(number) for number in range(4))), storage, compression)
    recording = opened(path)
    found = list(recording)
    assert numbers(found) == [0, 1, 2, 3] and recording.losses == ()
    for number, entry in enumerate(found):
        assert (entry.frame.decode() == scene(number)[0]).all()
        assert (entry.truth() == scene(number)[1]).all()
        assert entry.frame.seconds == pytest.approx(0.2 * number)
    info = recording.info
    assert (info.name, info.image_topic, info.labels_topic, info.images) == ('drive', '/image', '/labels', 4)
    assert info.seconds == pytest.approx(0.6)


@pytest.mark.parametrize(('selection', 'expected'), [
    ({'start': 0.5}, [3, 4, 5, 6, 7, 8, 9]),
    ({'start': 0.4, 'duration': 0.6}, [2, 3, 4]),
    ({'every': 4}, [0, 4, 8]),
    ({'start': 0.2, 'every': 3, 'max_frames': 2}, [1, 4]),
    ({'ignore': ((0.0, 0.4), (1.0, 1.4))}, [2, 3, 4, 7, 8, 9]),
    ({'max_frames': 20}, list(range(10))),
], ids=['start', 'start and duration', 'every', 'every and max_frames', 'ignore', 'more frames than there are'])
def test_frames_are_selected(drive: Path, selection: dict[str, object], expected: list[int]) -> None:
    found = frames(drive, **selection)
    assert numbers(found) == expected
    assert all(entry.truth is not None for entry in found)
    assert opened(drive, Selection('/image', '/labels', **selection)).count >= len(expected)


def test_a_bag_without_ground_truth_gives_frames_without_it(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image': 'Image'}, 3)
    assert [entry.truth for entry in opened(path, Selection())] == [None] * 3


def test_compressed_images_are_read(tmp_path: Path) -> None:
    path = write_bag(tmp_path / 'drive', {'/image/compressed': 'CompressedImage'}, 2)
    for number, entry in enumerate(opened(path, Selection())):
        assert (entry.frame.decode() == scene(number)[0]).all()


@pytest.mark.parametrize('images', [0, 3], ids=['no images', 'images'])
def test_an_mcap_without_an_index_is_read(images: int, tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    write_topics(path, chain(*(frame(number) for number in range(images))), indexed=False)
    if images:
        assert numbers(list(opened(path))) == [0, 1, 2]
    else:
        with pytest.raises(EnetError, match='has no image topic'):
            opened(path)


def test_ground_truth_with_an_unknown_id_is_an_error_of_its_frame(tmp_path: Path) -> None:
    _, labels = scene(0)
    bad = np.where(labels == 3, 42, labels).astype(np.uint8)
    path = write_entries(tmp_path / 'drive', [
        ('/image', IMAGE, recorded_at(0), image(scene(0)[0], 'bgr8', 1.0)),
        ('/labels', IMAGE, recorded_at(0), image(bad, 'mono8', 1.0)),
    ])
    (entry,) = frames(path)
    with pytest.raises(ImageError, match=r'^drive_1_000000000: ground truth has id 42, which is not a class'):
        entry.truth()


def test_a_split_bag_is_read_as_one(drive: Path, tmp_path: Path) -> None:
    path = tmp_path / 'split'
    entries = list(chain(*(frame(number) for number in range(10))))
    parts = [write_entries(tmp_path / f'part{index}', entries[8 * index:8 * index + 8]) for index in range(3)]
    path.mkdir()
    files = [shutil.copy(next(part.glob('*.mcap')), path / f'split_{index}.mcap') for index, part in enumerate(parts)]
    metadata = yaml.safe_load((drive / 'metadata.yaml').read_text())
    metadata['rosbag2_bagfile_information'].update(relative_file_paths=[file.name for file in files], files=[])
    (path / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    recording = opened(path)
    assert numbers(list(recording)) == list(range(10)) and recording.losses == ()
    assert recording.info.images == 10 and recording.info.seconds == pytest.approx(1.8)


def test_the_duration_is_that_of_the_images(tmp_path: Path) -> None:
    others = [('/text', LABEL_INFO, recorded_at(number), label_info({})) for number in (-40, 60)]
    path = write_entries(tmp_path / 'drive', [*others, *chain(*(frame(number) for number in range(4)))])
    recording = opened(path)
    assert recording.info.seconds == pytest.approx(0.6)
    assert [entry.frame.seconds for entry in recording] == pytest.approx([0.0, 0.2, 0.4, 0.6])


def test_one_topic_with_two_connections_is_read_completely(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    write_topics(path, chain(*(frame(number) for number in range(4))), connections=2)
    assert numbers(list(opened(path))) == [0, 1, 2, 3]


def test_the_progress_total_is_that_of_the_selected_part(drive: Path) -> None:
    assert opened(drive).count == 10
    assert opened(drive, Selection('/image', '/labels', start=0.9, every=2)).count in (2, 3)
    assert opened(drive, Selection('/image', '/labels', max_frames=3)).count == 3


@pytest.mark.parametrize(('selection', 'expected'), [
    ({}, 5.0), ({'every': 4}, 1.25), ({'start': 0.5, 'duration': 0.6}, 5.0), ({'max_frames': 1}, 5.0),
], ids=['all', 'every', 'a part of the time', 'one frame'])
def test_the_rate_is_that_of_the_selected_frames(drive: Path, selection: dict[str, object], expected: float) -> None:
    assert opened(drive, Selection('/image', '/labels', **selection)).rate == pytest.approx(expected)


def test_the_rate_of_a_bag_that_was_cut_off_is_that_of_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(10))))
    path.write_bytes(whole[:len(whole) // 2])
    assert opened(path).info.images < 10
    assert opened(path).rate == pytest.approx(5.0)
    assert opened(path, Selection('/image', '/labels', every=2)).rate == pytest.approx(2.5)


@pytest.mark.parametrize('times', [[3], [3, 3, 3]], ids=['one image', 'one time'])
def test_the_rate_without_a_duration_is_10(times: list[int], tmp_path: Path) -> None:
    entries = [(topic, kind, recorded_at(time), data) for number, time in enumerate(times)
               for topic, kind, _, data in frame(number)]
    recording = opened(write_entries(tmp_path / 'drive', entries))
    assert recording.rate == 10 and len(list(recording)) == len(times)

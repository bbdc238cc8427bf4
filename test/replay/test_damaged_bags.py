"""Replay of bags that are damaged, incomplete or not bags."""

from __future__ import annotations

import re
import shutil
from itertools import chain
from pathlib import Path

import pytest
from recorded_frames import numbers, opened
from recordings import recorded_at, write_mcap
from truth_bags import frame, write_entries, write_topics

from enet_ros.errors import EnetError, ImageError
from enet_ros.replay.recording import Selection


def test_an_mcap_that_was_cut_off_gives_what_is_readable_and_says_so(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 20, finish=False)
    recording = opened(path, Selection())
    found = list(recording)
    assert len(found) == recording.info.images == 20
    assert recording.losses == (f'{path} is an incomplete recording: 20 messages were read from /image',)


def test_damaged_ground_truth_is_counted(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(3))))
    entries[3] = (*entries[3][:3], entries[3][3][:30])
    recording = opened(write_entries(tmp_path / 'drive', entries))
    assert [entry.truth is None for entry in recording] == [False, True, False]
    (line,) = recording.losses
    assert line.startswith('damaged messages on /labels: 1, the first: the message is damaged: ')


def test_damaged_ground_truth_of_a_time_that_is_not_selected_is_no_loss(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(20))))
    for damaged in (1, 39):  # at 0 s and 3.8 s
        entries[damaged] = (*entries[damaged][:3], entries[damaged][3][:30])
    path = write_entries(tmp_path / 'drive', entries)
    recording = opened(path, Selection('/image', '/labels', start=1.4, duration=1.0))
    assert numbers(list(recording)) == [7, 8, 9, 10, 11] and recording.losses == ()


def test_what_is_not_a_bag_is_named(tmp_path: Path) -> None:
    (tmp_path / 'text.mcap').write_text('not a bag')
    for path, reason in ((tmp_path / 'none', 'no such bag'), (tmp_path / 'text.mcap', 'cannot read bag'),
                         (tmp_path, 'cannot read bag')):
        with pytest.raises(EnetError, match=reason):
            opened(path, Selection())


def test_a_folder_without_metadata_names_the_file_to_pass(drive: Path, tmp_path: Path) -> None:
    (file,) = drive.glob('*.mcap')
    copy = tmp_path / file.name
    shutil.copy(file, copy)
    with pytest.raises(EnetError, match=f'no metadata.yaml: pass {copy} directly, or run: ros2 bag reindex {tmp_path}'):
        opened(tmp_path)
    assert len(list(opened(copy))) == 10


def test_messages_that_the_index_of_a_bag_promises_and_its_files_lack_are_a_loss(drive: Path, tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number) for number in range(6))))
    shutil.copy(drive / 'metadata.yaml', path)
    recording = opened(path)
    assert len(list(recording)) == 6
    assert recording.losses == (
        f'bag {path} is damaged: 12 of 20 messages were read from /image and /labels (the rest is missing)',)


def test_an_mcap_that_was_cut_in_the_middle_says_how_much_was_lost(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(10))))
    path.write_bytes(whole[:len(whole) // 2])
    recording = opened(path)
    found = list(recording)
    assert 2 <= len(found) == recording.info.images < 10 and all(entry.truth for entry in found[:-1])
    (line,) = recording.losses
    pattern = r'(\d+) messages were read from /image and /labels; the last (\d+) of its (\d+) bytes cannot be read'
    read, lost, size = map(int, re.search(pattern, line).groups())
    assert abs(read - 2 * len(found)) <= 1 and 0 < lost < size == len(whole) // 2
    assert recording.info.seconds == pytest.approx(0.2 * (len(found) - 1))


@pytest.mark.parametrize('selection', [{'max_frames': 2}, {'duration': 0.3}], ids=['max_frames', 'duration'])
def test_what_is_lost_after_the_selected_frames_is_not_reported(selection: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    whole = write_topics(path, chain(*(frame(number) for number in range(20))))
    path.write_bytes(whole[:len(whole) * 3 // 4])
    recording = opened(path, Selection('/image', '/labels', **selection))
    assert numbers(list(recording)) == [0, 1] and recording.losses == ()


def test_images_of_a_recording_that_was_cut_off_count_if_they_are_not_in_order(tmp_path: Path) -> None:
    path = tmp_path / 'drive.mcap'
    entries = [(topic, kind, recorded_at(time), data) for time, number in ((1, 0), (0, 1), (2, 2))
               for topic, kind, _, data in frame(number)]
    path.write_bytes(write_topics(path, entries)[:-20])
    assert numbers(list(opened(path))) == [0, 1, 2]


def test_a_damaged_bag_is_one_line_and_what_is_readable(tmp_path: Path) -> None:
    whole = write_topics(tmp_path / 'drive.mcap', chain(*(frame(number) for number in range(10))))
    path = tmp_path / 'damaged.mcap'
    outcomes = set()
    for start in range(0, len(whole), len(whole) // 25):
        path.write_bytes(whole[:start] + b'\xff' * 50 + whole[start + 50:])
        try:
            recording = opened(path)
            count, lines = len(list(recording)), recording.losses
            assert count == 10 or lines
            outcomes.add('lost' if lines else 'read')
        except EnetError as error:
            lines = (str(error),)
            outcomes.add('refused')
        assert not any('\n' in line for line in lines)
    assert outcomes >= {'lost', 'refused'}


def test_a_damaged_image_is_one_frame_that_cannot_be_decoded(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number) for number in range(3))))
    entries[2] = (*entries[2][:3], entries[2][3][:60])
    found = list(opened(write_entries(tmp_path / 'drive', entries)))
    assert len(found) == 3
    with pytest.raises(ImageError):
        found[1].frame.decode()

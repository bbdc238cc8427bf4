"""Ground truth is matched to the images of a bag."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

import pytest
from recorded_frames import frames, numbers, opened
from recordings import recorded_at
from truth_bags import IMAGE, frame, image, scene, write_entries, write_topics

from enet_ros.images.bags import Bag, RecordedMessage
from enet_ros.replay.matching import MOST_WAITING


def test_ground_truth_is_matched_by_stamp_however_late_it_was_recorded(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, delay=0.7) for number in range(8))))
    for number, entry in enumerate(frames(path)):
        assert (entry.truth() == scene(number)[1]).all()


def test_ground_truth_beyond_the_tolerance_is_not_used(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(
        frame(number, stamp=10 + number, truth_stamp=10 + number + 0.01 * number) for number in range(6))))
    assert [entry.truth is not None for entry in frames(path, tolerance=0.025)] == [True] * 3 + [False] * 3


def test_stamps_out_of_order_and_repeated_ones_are_matched_one_to_one(tmp_path: Path) -> None:
    stamps = [5.0, 3.0, 4.0, 4.0, 4.0, 1.0]
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, stamp=stamp) for number, stamp in enumerate(stamps))))
    found = frames(path)
    assert len({entry.frame.name for entry in found}) == len(stamps)
    for number, entry in enumerate(found):
        assert (entry.truth() == scene(number)[1]).all()


def test_without_stamps_the_times_of_recording_are_matched(tmp_path: Path) -> None:
    path = write_entries(tmp_path / 'drive', chain(*(frame(number, stamp=0.0) for number in range(3))))
    assert [(entry.truth() == scene(number)[1]).all() for number, entry in enumerate(frames(path))] == [True] * 3


def test_ground_truth_goes_to_the_nearest_image(tmp_path: Path) -> None:
    stamps = [1.0, 1.015, 1.03]
    entries = [(topic, kind, 100 + number, data) for number, stamp in enumerate(stamps)
               for topic, kind, _, data in frame(number, stamp=stamp) if topic == '/image']
    path = write_entries(tmp_path / 'drive', [*entries, ('/labels', IMAGE, 110, image(scene(1)[1], 'mono8', 1.012))])
    assert [entry.truth is not None for entry in frames(path)] == [False, True, False]
    # also if that one is not selected
    assert [entry.truth is not None for entry in frames(path, every=2)] == [False, False]


def test_ground_truth_is_looked_for_within_a_second_of_recording(tmp_path: Path) -> None:
    entries = list(chain(*(frame(number, delay=delay) for number, delay in enumerate([-1.1, -0.9, 0.0, 0.9, 1.1] * 2))))
    found = frames(write_entries(tmp_path / 'drive', entries))
    assert numbers(found) == list(range(10))
    assert [entry.truth is not None for entry in found] == [False, True, True, True, False] * 2
    assert all((entry.truth() == scene(number)[1]).all() for number, entry in enumerate(found) if entry.truth)


@pytest.mark.parametrize('offset', [0.0, 0.01, 5.0], ids=['same stamps', 'near stamps', 'no match'])
def test_messages_are_kept_for_a_second_of_recording(
    offset: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [1 + number / 5 for number in range(60)]
    path = write_entries(tmp_path / 'drive', chain(*(
        frame(number, stamp=stamp, truth_stamp=stamp + offset) for number, stamp in enumerate(stamps))))
    have_truth, most = kept_messages(path, monkeypatch)
    # 5 Hz: labels of the last second, images and labels of the next one
    assert len(have_truth) == 60 and most <= 3 * 5 + 5


def kept_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[bool], int]:
    """Return for every frame whether it has ground truth, and how many messages were in memory at most."""
    kept: list[weakref.ref[object]] = []
    read = Bag.messages

    def messages(bag: Bag, topics: Collection[str]) -> Iterator[RecordedMessage]:
        for recorded in read(bag, topics):
            kept.append(weakref.ref(recorded.message))
            yield recorded

    monkeypatch.setattr(Bag, 'messages', messages)
    have_truth, most = [], 0
    for entry in opened(path):
        have_truth.append(entry.truth is not None)
        del entry
        most = max(most, sum(reference() is not None for reference in kept))
    return have_truth, most


@pytest.mark.parametrize(('offset', 'has_truth'), [(0.0, True), (0.01, True), (0.1, False)],
                         ids=['same stamps', 'near stamps', 'no match'])
@pytest.mark.parametrize('step', [0, -10**8], ids=['stand still', 'go back'])
def test_memory_is_bounded_if_the_times_of_recording_do_not_go_on(
    step: int, offset: float, has_truth: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, path = 3 * MOST_WAITING, tmp_path / 'drive.mcap'
    data = write_topics(path, [
        (topic, kind, recorded_at(count) + step * number, message) for number in range(count)
        for topic, kind, _, message in frame(number, stamp=1 + number / 5, truth_stamp=1 + number / 5 + offset)])
    path.write_bytes(data[:-20])  # cut off: the times are those of the file
    have_truth, most = kept_messages(path, monkeypatch)
    assert have_truth == [has_truth] * count
    assert most <= 3 * MOST_WAITING + 5

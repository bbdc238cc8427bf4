"""Bags and videos of segmented frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from resource_limits import file_size_limit

from enet_ros.errors import EnetError
from enet_ros.images.bags import RecordedMessage, open_bag
from enet_ros.images.overlay import blend
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID
from enet_ros.replay.exports import saving_bag, saving_video
from enet_ros.replay.frames import SegmentedFrame

START = 1_700_000_000


def segmented(
    number: int, seconds: float, stamp: tuple[int, int] | None, *, truth: bool = True, width: int = 96, height: int = 64
) -> SegmentedFrame:
    image, labels = draw_scene(number, width, height)
    flipped = labels[::-1].copy()
    return SegmentedFrame(f'frame{number}', seconds, stamp, image, flipped, None, labels if truth else None, 0.01)


def overlay(frame: SegmentedFrame) -> np.ndarray:
    return blend(frame.image, frame.labels, CAMVID.palette()[:, ::-1].copy(), 0.5)


def read(path: Path) -> dict[str, list[RecordedMessage]]:
    bag = open_bag(path)
    return {topic: list(bag.messages([topic])) for topic in bag.topics}


def pixels(entry: RecordedMessage) -> np.ndarray:
    message = entry.message
    return np.squeeze(message.data.reshape(message.height, message.width, -1))


def test_a_saved_bag_has_images_labels_overlays_and_ground_truth_with_the_times_of_the_recording(tmp_path: Path) -> None:
    # stamps that repeat and go back, as those of a camera whose clock is corrected
    frames = [segmented(0, 0.5, (START, 5)), segmented(1, 0.75, (START, 5), truth=False), segmented(2, 1.0, (START - 9, 7))]
    with saving_bag(tmp_path / 'out.mcap', CAMVID) as save:
        for frame in frames:
            save(frame)
    found = read(tmp_path / 'out.mcap')
    truth = found.pop('/ground_truth/labels')
    assert [(pixels(entry) == frame.truth).all() for entry, frame in zip(truth, frames[::2])] == [True, True]
    for topic in ('/enet/labels/label_info', '/ground_truth/labels/label_info'):
        (names,) = found.pop(topic)
        assert [(entry.class_id, entry.class_name) for entry in names.message.class_map] == list(enumerate(CAMVID.names))
    assert found.keys() == {'/image', '/enet/labels', '/enet/overlay'}
    for entries in found.values():
        assert [(entry.message.header.stamp.sec, entry.message.header.stamp.nanosec) for entry in entries] == [
            frame.stamp for frame in frames]
        assert [entry.time - START * 10**9 - 5 for entry in entries] == [0, 250_000_000, 500_000_000]
    for index, frame in enumerate(frames):
        assert (pixels(found['/image'][index]) == frame.image).all()
        assert (pixels(found['/enet/labels'][index]) == frame.labels).all()
        assert (pixels(found['/enet/overlay'][index]) == overlay(frame)).all()


def test_frames_without_a_stamp_or_from_before_1970_are_saved(tmp_path: Path) -> None:
    with saving_bag(tmp_path / 'out.mcap', CAMVID) as save:
        save(segmented(0, 0.0, (-5, 0)))
        save(segmented(1, 0.5, None))
    assert [entry.message.header.stamp.sec for entry in read(tmp_path / 'out.mcap')['/image']] == [-5, 0]


def test_a_failed_replay_leaves_no_file(tmp_path: Path) -> None:
    for saving in (saving_bag(tmp_path / 'out.mcap', CAMVID), saving_video(tmp_path / 'out.mp4', CAMVID, 10.0)):
        with pytest.raises(EnetError, match='stop'), saving as save:
            save(segmented(0, 0.0, (START, 0)))
            raise EnetError('stop')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('rate', 'stored'), [(12.5, 12.5), (1e-6, 1.0), (1e9, 240.0)])
def test_a_video_shows_the_overlays_at_the_rate(rate: float, stored: float, tmp_path: Path) -> None:
    frames = [segmented(number, number / 10, (START, number)) for number in range(5)]
    frames.append(segmented(5, 0.5, (START, 5), width=64, height=32))  # resized
    with saving_video(tmp_path / 'out.mp4', CAMVID, rate) as save:
        for frame in frames:
            save(frame)
    video = cv2.VideoCapture(str(tmp_path / 'out.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(stored)
    shown = [image for read, image in (video.read() for _ in range(7)) if read]
    assert len(shown) == 6
    for image, frame in zip(shown, frames):
        expected = cv2.resize(overlay(frame), (96, 64))
        others = [cv2.PSNR(image, cv2.resize(overlay(other), (96, 64))) for other in frames if other is not frame]
        assert cv2.PSNR(image, expected) > max(*others, 22)


def test_without_frames_there_is_no_video(tmp_path: Path) -> None:
    with saving_video(tmp_path / 'out.mp4', CAMVID, 10.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_missing_codec_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('enet_ros.replay.exports.CODEC', cv2.VideoWriter.fourcc(*'none'))  # FFmpeg does not have it
    saving = saving_video(tmp_path / 'out.mp4', CAMVID, 10.0)
    with pytest.raises(EnetError, match=r'out\.mp4: this OpenCV cannot encode MPEG-4'), saving as save:
        save(segmented(0, 0.0, (START, 0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('suffix', ['.mcap', '.mp4'])
def test_a_full_disk_is_reported(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'out{suffix}'
    saving = saving_bag(path, CAMVID) if suffix == '.mcap' else saving_video(path, CAMVID, 10.0)
    with file_size_limit(20_000), pytest.raises(EnetError, match=f'cannot write {path}'), saving as save:
        for number in range(30):
            save(segmented(number, number / 10, (START, number), width=320, height=240))
    assert list(tmp_path.iterdir()) == []

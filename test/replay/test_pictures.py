from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from replay_results import LABELS

from enet_ros.labels import VOID
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.pictures import MAX_WIDTH, SAMPLE, TYPICAL, WORST, PictureChooser

Pixels = NDArray[np.uint8]


def segmented(height: int = 6, width: int = 8, truth: Pixels | None = None) -> SegmentedFrame:
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    return SegmentedFrame('frame', 0.0, np.full((height, width, 3), 90, np.uint8), labels, None, truth, None)


def chosen(scores: list[float]) -> tuple[list[int], list[int]]:
    """Return the frames that are the worst and the typical ones."""
    chooser = PictureChooser()
    for frame, score in enumerate(scores):
        chooser.update(frame, segmented(), score)
    return [picture.frame for picture in chooser.worst(LABELS)], [picture.frame for picture in chooser.typical(LABELS)]


def decoded(content: bytes | None) -> Pixels:
    assert content is not None
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_worst_frames_come_worst_first_and_of_equal_ones_the_first() -> None:
    scores = np.random.default_rng(0).integers(0, 30, 200) / 30
    expected = sorted(range(200), key=lambda frame: (scores[frame], frame))[:WORST]
    assert chosen(scores.tolist())[0] == expected
    assert chosen([0.5] * 50)[0] == list(range(WORST))


def test_typical_frames_are_near_the_median() -> None:
    assert chosen([0.9, 0.1, 0.5, 0.52, 0.4])[1] == [2, 3, 4]
    rising = [frame / 1000 for frame in range(1000)]
    typical = chosen(rising)[1]
    assert len(typical) == TYPICAL
    assert all(abs(frame - 500) <= 2 * 1000 / (SAMPLE / 2) for frame in typical)


def test_fewer_frames_than_pictures_are_all_shown() -> None:
    assert chosen([]) == ([], [])
    assert chosen([0.7, 0.3]) == ([1, 0], [0, 1])


def test_the_number_of_images_in_memory_does_not_grow() -> None:
    chooser, images = PictureChooser(), []
    for frame in range(2000):
        one = segmented()
        images.append(weakref.ref(one.image))
        chooser.update(frame, one, 1 - frame / 2000)  # each frame is the worst so far
        del one
        assert sum(image() is not None for image in images[-100:]) <= WORST + SAMPLE
    assert sum(image() is not None for image in images) <= WORST + SAMPLE


@pytest.mark.parametrize(('size', 'expected'), [
    ((720, 1280), (360, 640)), ((100, 641), (100, 640)), ((1, 2000), (1, 640)), ((900, 640), (900, 640)), ((3, 5), (3, 5)),
], ids=lambda size: f'{size[1]}x{size[0]}')
def test_all_pictures_of_a_frame_have_one_size_at_most_640_wide(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert MAX_WIDTH == 640
    chooser = PictureChooser()
    chooser.update(0, segmented(*size, truth=np.zeros(size, np.uint8)), 0.5)
    picture, = chooser.worst(LABELS)
    for content in (picture.image, picture.labels, picture.truth, picture.difference):
        assert decoded(content).shape[:2] == expected


def test_pictures_show_the_colours_of_the_classes_and_the_wrong_pixels() -> None:
    truth = np.zeros((6, 8), np.uint8)
    truth[:, 6:] = 1
    truth[0] = VOID
    chooser = PictureChooser()
    chooser.update(7, segmented(truth=truth), 0.5)
    picture, = chooser.typical(LABELS)
    assert picture.frame == 7 and picture.image.startswith(b'\xff\xd8') and abs(decoded(picture.image).mean() - 90) < 2
    sky, road = ([blue, green, red, 255] for red, green, blue in LABELS.colors[:2])
    assert decoded(picture.labels)[3].tolist() == [sky] * 4 + [road] * 4
    assert decoded(picture.truth)[3].tolist() == [sky] * 6 + [road] * 2
    assert not decoded(picture.truth)[0, :, 3].any()
    wrong = decoded(picture.difference)[..., 3] == 255
    assert wrong[1:].tolist() == [[False] * 4 + [True] * 2 + [False] * 2] * 5
    assert not wrong[0].any()  # void in the ground truth


def test_without_ground_truth_there_is_no_difference() -> None:
    chooser = PictureChooser()
    chooser.update(0, segmented(), 0.5)
    picture, = chooser.worst(LABELS)
    assert picture.truth is None and picture.difference is None

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from enet_ros.labels import VOID
from enet_ros.replay.stability import AGREEMENT, MIN_VALID, FlipCounter, agreeing, flips

Pixels = NDArray[np.uint8]


def random_labels(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 5, (height, width), np.uint8)


def constant_flow(height: int, width: int, right: float, down: float) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32([right, down]), (height, width, 2)).copy()


def texture(height: int, width: int, seed: int = 0) -> Pixels:
    """Return an image with details of several sizes."""
    random = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(random.standard_normal((height, width, 3)), None, size) * size for size in (2, 5, 12)]
    image = sum(layers)
    return np.clip(128 + 50 * image / image.std(), 0, 255).astype(np.uint8)


def areas(height: int, width: int) -> Pixels:
    """Return labels of four areas, each larger than the motion."""
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = 1
    labels[:, width // 3 : width // 2] = 2
    cv2.circle(labels, (2 * width // 3, height // 2), height // 5, 3, -1)
    return labels


def test_equal_labels_do_not_flip() -> None:
    labels = random_labels(20, 30)
    assert flips(labels, labels, constant_flow(20, 30, 0, 0), np.ones((20, 30), bool)) == 0


def test_a_changed_block_counts_with_its_share_of_the_valid_pixels() -> None:
    previous, valid = np.zeros((20, 20), np.uint8), np.ones((20, 20), bool)
    labels = previous.copy()
    labels[2:6, 10:15] = 1
    still = constant_flow(20, 20, 0, 0)
    assert flips(previous, labels, still, valid) == 20 / 400
    valid[:, 12:] = False
    assert flips(previous, labels, still, valid) == 4 * 2 / 240


def test_void_counts_as_a_label() -> None:
    previous = np.full((4, 4), VOID, np.uint8)
    labels = previous.copy()
    labels[0, 0] = 0
    assert flips(previous, labels, constant_flow(4, 4, 0, 0), np.ones((4, 4), bool)) == 1 / 16


def test_labels_that_move_with_the_image_do_not_flip() -> None:
    world = random_labels(40, 60)
    previous, labels = world[5:35, 5:55], world[8:38, 1:51]  # what was at (x, y) is now at (x + 4, y - 3)
    valid = np.zeros(labels.shape, bool)
    valid[:-3, 4:] = True
    flow = constant_flow(*labels.shape, -4, 3)
    assert flips(previous, labels, flow, valid) == 0
    assert flips(previous, labels, -flow, valid) > 0.5


def test_the_warped_label_is_that_of_the_nearest_pixel() -> None:
    previous = random_labels(30, 40)
    flow = np.random.default_rng(3).uniform(-6, 6, (30, 40, 2)).astype(np.float32)
    rows, columns = np.mgrid[:30, :40]
    labels = map_coordinates(previous, [rows + flow[..., 1], columns + flow[..., 0]], order=0, mode='nearest')
    assert flips(previous, labels, flow, np.ones(labels.shape, bool)) == 0


def test_with_a_step_the_middle_pixels_of_blocks_are_compared() -> None:
    world = random_labels(70, 100)
    previous, labels = world[:60, :90], world[4:64, 5:95].copy()
    valid = np.zeros((20, 30), bool)
    valid[:-2, :-2] = True
    flow = constant_flow(20, 30, 5, 4)
    assert flips(previous, labels, flow, valid, step=3) == 0
    labels[6:12, 9:18] += 1  # 2 x 3 blocks
    assert flips(previous, labels, flow, valid, step=3) == 6 / (18 * 28)


def test_too_few_valid_pixels_give_no_figure() -> None:
    labels = random_labels(10, 10)
    valid = np.zeros((10, 10), bool)
    valid[0] = True
    assert MIN_VALID == 0.1
    assert flips(labels, labels, constant_flow(10, 10, 0, 0), valid) == 0
    valid[0, 0] = False
    assert flips(labels, labels, constant_flow(10, 10, 0, 0), valid) is None


def test_pixels_agree_if_the_flow_back_returns_to_them() -> None:
    flow, back = constant_flow(12, 16, 3, -2), constant_flow(12, 16, -3, 2)
    expected = np.zeros((12, 16), bool)
    expected[2:, :13] = True  # the others leave the image
    np.testing.assert_array_equal(agreeing(flow, back), expected)
    back[5, 9] += (AGREEMENT, AGREEMENT)  # reached from (6, 7)
    expected[7, 6] = False
    np.testing.assert_array_equal(agreeing(flow, back), expected)


@pytest.mark.parametrize('size', [(120, 160), (360, 480), (361, 641)], ids=['small', 'camvid', 'odd'])
@pytest.mark.parametrize('motion', [(0, 0), (6, 0), (-5, 3)], ids=['still', 'right', 'up-left'])
def test_the_labels_of_a_moving_scene_do_not_flip(size: tuple[int, int], motion: tuple[int, int]) -> None:
    height, width = size
    image, labels = texture(height + 40, width + 40), areas(height + 40, width + 40)
    counter = FlipCounter()
    (x, y), views = motion, []
    for moved in ((0, 0), (x, y)):
        view = np.s_[20 + moved[1] : 20 + moved[1] + height, 20 + moved[0] : 20 + moved[0] + width]
        views.append(counter.update(image[view], labels[view]))
    assert views == [None, 0]


def test_real_images_that_are_moved_and_enlarged_hardly_flip(camvid: Path) -> None:
    """The ground truth of CamVid, moved with the image. What counts as flips is the error of the optical flow."""
    random = np.random.default_rng(0)
    found, unwarped = [], []
    for path in sorted((camvid / 'val').glob('*.png'))[::5]:
        image, labels = cv2.imread(str(path)), cv2.imread(str(camvid / 'valannot' / path.name), cv2.IMREAD_GRAYSCALE)
        height, width = labels.shape
        motion = cv2.getRotationMatrix2D((width / 2, height / 2), 0, random.uniform(1, 1.03))
        motion[:, 2] += random.uniform(-9, 9), random.uniform(-3, 3)
        moved, moved_labels = (
            cv2.warpAffine(pixels, motion, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
            for pixels, flags in ((image, cv2.INTER_LINEAR), (labels, cv2.INTER_NEAREST)))
        noise = random.integers(-3, 4, moved.shape)
        counter = FlipCounter()
        counter.update(image, labels)
        found.append(counter.update(np.clip(moved + noise, 0, 255).astype(np.uint8), moved_labels))
        unwarped.append((moved_labels != labels).mean())
    assert np.mean(unwarped) > 0.05 and np.mean(found) < 0.015


def test_a_changed_block_in_a_still_scene_gives_its_share() -> None:
    image, labels = texture(360, 480), areas(360, 480)
    counter = FlipCounter()
    counter.update(image, labels)
    changed = labels.copy()
    changed[60:120, 30:90] = 4
    assert counter.update(image, changed) == pytest.approx(60 * 60 / labels.size)
    assert counter.update(image, changed) == 0


def test_a_cut_a_new_size_and_tiny_images_give_no_figure() -> None:
    counter = FlipCounter()
    labels = areas(120, 160)
    assert counter.update(texture(120, 160), labels) is None
    assert counter.update(texture(120, 160), labels) == 0
    assert counter.update(texture(120, 160, seed=1), labels) is None
    assert counter.update(texture(160, 120), labels.T.copy()) is None
    assert counter.update(texture(160, 120), labels.T.copy()) == 0
    for side in (1, 15):
        tiny = FlipCounter()
        assert [tiny.update(texture(side, 40), areas(side, 40)) for _ in range(2)] == [None, None]


def test_the_same_frames_give_the_same_figures() -> None:
    random = np.random.default_rng(0)
    image = texture(200, 300)
    frames = [(image[i : i + 180, 2 * i : 2 * i + 240], random.integers(0, 3, (180, 240), np.uint8)) for i in range(5)]
    first, second = ([counter.update(*frame) for frame in frames] for counter in (FlipCounter(), FlipCounter()))
    assert first == second and all(first[1:])

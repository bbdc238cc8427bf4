"""Health of camera images: what is reported, and that healthy streams are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from enet_ros.images.health import ImageHealth, sharpness
from enet_ros.images.synthetic import draw_scene

SIZES = [(1, 1), (3, 500), (64, 96), (1080, 1920)]


class Camera:
    """Feeds images at 10 Hz of a clock of its own."""

    def __init__(self, min_sharpness: float = 0.0) -> None:
        self.now = 100.0
        self.health = ImageHealth(min_sharpness, lambda: self.now)

    def send(self, image: NDArray[np.uint8], stamp: int | None = None) -> None:
        self.health.update(image, round(self.now * 1e9) if stamp is None else stamp)
        self.now += 0.1

    def problem(self) -> str:
        latest = self.health.latest
        assert latest is not None and len(latest.problems) < 2
        return latest.problems[0].partition(':')[0] if latest.problems else ''


@pytest.fixture(scope='module')
def scenes() -> list[NDArray[np.uint8]]:
    return [draw_scene(number, 640, 360)[0] for number in range(40)]


def test_a_moving_camera_is_healthy(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera(min_sharpness=20)
    for scene in scenes:
        camera.send(scene)
        assert camera.problem() == ''


def test_pixels_that_stop_changing_are_frozen_until_they_change(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    for _ in range(25):
        camera.send(scenes[0])
    assert camera.problem() == 'frozen'
    for scene in scenes:
        camera.send(scene)
    assert camera.problem() == ''


def test_one_changed_pixel_is_enough_not_to_be_frozen(scenes: list[NDArray[np.uint8]]) -> None:
    small = cv2.resize(scenes[0], (320, 180))
    camera = Camera()
    for number in range(25):
        small[90, 160] = number
        camera.send(small)
    assert camera.problem() == ''


@pytest.mark.parametrize('period', [2, 10], ids=['each image twice', 'the same image every second'])
def test_repeated_images_are_not_frozen(scenes: list[NDArray[np.uint8]], period: int) -> None:
    camera = Camera()
    for number in range(40):
        camera.send(scenes[number // 2 if period == 2 else number % 10])
        assert camera.problem() == ''


def test_a_paused_bag_that_repeats_a_stamp_is_not_frozen(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    for _ in range(25):
        camera.send(scenes[0], stamp=5)
    assert camera.problem() == ''


def test_images_without_stamps_can_be_frozen(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    for _ in range(25):
        camera.send(scenes[0], stamp=0)
    assert camera.problem() == 'frozen'


def test_a_change_of_size_is_not_frozen(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    for number in range(25):
        camera.send(scenes[0] if number % 5 else scenes[0][:180])
    assert camera.problem() == ''


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize(('low', 'high', 'problem'), [(0, 20, 'black'), (250, 256, 'saturated'), (21, 30, ''),
                                                      (230, 250, '')], ids=['black', 'saturated', 'dark', 'bright'])
def test_black_and_saturated(size: tuple[int, int], low: int, high: int, problem: str) -> None:
    camera = Camera()
    camera.send(np.random.default_rng(0).integers(low, high, (*size, 3)).astype(np.uint8))
    assert camera.problem() == problem


def test_blur_is_reported_below_the_threshold_only(scenes: list[NDArray[np.uint8]]) -> None:
    blurred = [cv2.GaussianBlur(scene, (0, 0), 6) for scene in scenes]
    for threshold, expected in ((20.0, 'blurred'), (0.0, '')):
        camera = Camera(threshold)
        for scene in blurred:
            camera.send(scene)
        assert camera.problem() == expected


@pytest.mark.parametrize('size', [(480, 270), (1280, 720), (3840, 2160)], ids=str)
def test_sharpness_of_a_blurred_image_hardly_depends_on_its_size(scenes: list[NDArray[np.uint8]],
                                                                size: tuple[int, int]) -> None:
    blurred = cv2.GaussianBlur(scenes[0], (0, 0), 4)
    assert sharpness(cv2.resize(blurred, size, interpolation=cv2.INTER_CUBIC)) == pytest.approx(sharpness(blurred), rel=0.15)


def test_small_images_are_not_enlarged(scenes: list[NDArray[np.uint8]]) -> None:
    small = cv2.resize(scenes[0], (160, 90))
    assert sharpness(small) == pytest.approx(cv2.Laplacian(small[..., 1].copy(), cv2.CV_16S).var())


def test_rows_may_be_padded(scenes: list[NDArray[np.uint8]]) -> None:
    padded = np.zeros((360, 641 * 3 + 1), np.uint8)
    view = np.lib.stride_tricks.as_strided(padded, (360, 640, 3), (641 * 3 + 1, 3, 1))
    view[:] = scenes[0]
    assert sharpness(view) == sharpness(scenes[0])


def test_results_are_forgotten_when_images_stop(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    assert camera.health.latest is None
    camera.send(np.zeros((8, 8, 3), np.uint8))
    assert camera.problem() == 'black'
    camera.now += 5
    assert camera.health.latest is None


def test_images_are_checked_once_a_second(scenes: list[NDArray[np.uint8]]) -> None:
    camera = Camera()
    camera.send(scenes[0])
    for _ in range(5):
        camera.send(np.zeros((8, 8, 3), np.uint8))
    assert camera.problem() == ''
    for _ in range(6):
        camera.send(np.zeros((8, 8, 3), np.uint8))
    assert camera.problem() == 'black'

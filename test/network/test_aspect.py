from __future__ import annotations

import math
import random

import pytest

from enet_ros.network.architecture import is_valid_size
from enet_ros.network.aspect import advise_size, aspect_differs


@pytest.mark.parametrize(('camera', 'network', 'differs'), [
    ((640, 480), (480, 360), False),
    ((1280, 720), (480, 360), True),
    ((360, 480), (480, 360), True),
    ((1280, 720), (552, 312), False),
    ((110, 100), (100, 100), False),  # by 10 %, not more
    ((111, 100), (100, 100), True),
    ((100, 110), (100, 100), False),
    ((100, 111), (100, 100), True),
], ids=str)
def test_ratios_differ_by_more_than_ten_percent(camera: tuple[int, int], network: tuple[int, int], differs: bool) -> None:
    assert aspect_differs(camera, network) is differs
    assert aspect_differs(network, camera) is differs


@pytest.mark.parametrize(('camera', 'network', 'expected'), [
    ((1280, 720), (480, 360), (552, 312)),  # 554.3 x 311.8
    ((640, 480), (480, 360), (480, 360)),
    ((1920, 1080), (640, 360), (640, 360)),
    ((720, 1280), (480, 360), (312, 552)),
    ((1280, 800), (480, 360), (528, 328)),  # 525.8 x 328.6: 1.6098 is closer to 1.6 than 520x328 with 1.585
    ((1936, 1216), (480, 360), (520, 328)),  # 524.5 x 329.4: nearest would be 528x328, 1.610 instead of 1.592
], ids=str)
def test_the_advised_size_is_that_computed_by_hand(
    camera: tuple[int, int], network: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert advise_size(camera, network, 8, 16384) == expected


def test_the_advised_size_keeps_the_ratio_of_the_camera_and_the_pixels_of_the_network() -> None:
    generator = random.Random(1)
    for _ in range(2000):
        camera = generator.randint(320, 4000), generator.randint(320, 4000)
        if not 1 / 3 < camera[0] / camera[1] < 3:
            continue
        advised = advise_size(camera, (480, 360), 8, 16384)
        assert is_valid_size(advised) and not aspect_differs(camera, advised)
        assert math.prod(advised) == pytest.approx(480 * 360, rel=0.05)
        assert advised[0] / advised[1] == pytest.approx(camera[0] / camera[1], rel=0.011)


@pytest.mark.parametrize(('camera', 'network', 'limits', 'expected'), [
    ((640, 64), (96, 64), (8, 16384), (240, 24)),
    ((640, 96), (96, 64), (32, 16384), (208, 32)),
    ((96, 640), (96, 64), (32, 16384), (32, 208)),
    ((640, 64), (1280, 960), (8, 16384), (3512, 352)),
    ((640, 64), (1280, 960), (8, 3200), (3200, 344)),
    ((64, 640), (1280, 960), (8, 3200), (344, 3200)),
], ids=str)
def test_no_side_is_outside_the_limits_of_the_network(
    camera: tuple[int, int], network: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert advise_size(camera, network, *limits) == expected


@pytest.mark.parametrize('network', [(96, 64), (480, 360), (1280, 960)], ids=str)
def test_no_size_is_advised_that_would_distort_the_images_as_well(network: tuple[int, int]) -> None:
    assert advise_size((5000, 1), network, 8, 16384) is None
    assert advise_size((1, 5000), network, 8, 16384) is None
    assert advise_size((8192, 16), network, 8, 16384) is None

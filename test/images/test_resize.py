from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from enet_ros.images.resize import RESIZE_MODES, Placement, place

SIZES = [(1, 1), (1, 5000), (5000, 1), (2, 3), (33, 17), (96, 64), (97, 65), (640, 480), (1280, 720), (1281, 719)]
NETWORKS = [(8, 8), (96, 64), (64, 96), (480, 360), (552, 312)]


def affine(placement: Placement) -> tuple[float, float, float, float]:
    return placement.scale_x, placement.scale_y, placement.offset_x, placement.offset_y


@pytest.mark.parametrize(('image', 'network', 'mode', 'source', 'target', 'expected'), [
    ((1280, 720), (480, 360), 'stretch', (0, 0, 1280, 720), (0, 0, 480, 360), (0.375, 0.5, 0, 0)),
    ((1280, 720), (480, 360), 'letterbox', (0, 0, 1280, 720), (0, 45, 480, 270), (0.375, 0.375, 0, 45)),
    ((1280, 720), (480, 360), 'crop', (160, 0, 960, 720), (0, 0, 480, 360), (0.5, 0.5, -80, 0)),
    # narrower than the network
    ((640, 480), (640, 360), 'letterbox', (0, 0, 640, 480), (80, 0, 480, 360), (0.75, 0.75, 80, 0)),
    ((640, 480), (640, 360), 'crop', (0, 60, 640, 360), (0, 0, 640, 360), (1, 1, 0, -60)),
    # smaller than the network
    ((48, 20), (96, 64), 'letterbox', (0, 0, 48, 20), (0, 12, 96, 40), (2, 2, 0, 12)),
    ((48, 20), (96, 64), 'crop', (9, 0, 30, 20), (0, 0, 96, 64), (3.2, 3.2, -28.8, 0)),
    # no side of a part is below one pixel
    ((1, 5000), (480, 360), 'letterbox', (0, 0, 1, 5000), (239, 0, 1, 360), (1, 0.072, 239, 0)),
    ((1, 5000), (480, 360), 'crop', (0, 2499, 1, 1), (0, 0, 480, 360), (480, 360, 0, -2499 * 360)),
    # a difference below half a pixel
    ((97, 65), (96, 64), 'letterbox', (0, 0, 97, 65), (0, 0, 96, 64), (96 / 97, 64 / 65, 0, 0)),
    ((97, 65), (96, 64), 'crop', (0, 0, 97, 65), (0, 0, 96, 64), (96 / 97, 64 / 65, 0, 0)),
], ids=str)
def test_the_placement_is_that_computed_by_hand(
    image: tuple[int, int], network: tuple[int, int], mode: str, source: tuple[int, ...], target: tuple[int, ...],
    expected: tuple[float, ...],
) -> None:
    placement = place(image, network, mode)
    assert (placement.source, placement.target) == (source, target)
    assert affine(placement) == pytest.approx(expected)


def test_parts_are_centred_undistorted_and_as_large_as_possible() -> None:
    generator = random.Random(1)
    for _ in range(2000):
        image = generator.randint(1, 3000), generator.randint(1, 3000)
        network = 8 * generator.randint(1, 120), 8 * generator.randint(1, 120)
        letterbox, crop = (place(image, network, mode) for mode in ('letterbox', 'crop'))
        assert letterbox.source.size == image and crop.target.size == network
        for part, whole, scale in (
            (letterbox.target, network, min(network[0] / image[0], network[1] / image[1])),
            (crop.source, image, 1 / max(network[0] / image[0], network[1] / image[1])),
        ):
            other = image if whole is network else network
            for start, side, all_of_it, wanted in zip(part[:2], part.size, whole, (scale * length for length in other)):
                assert abs(side - wanted) <= 0.5 + 1e-9 or side == 1
                assert start >= 0 and 0 <= all_of_it - side - 2 * start <= 1


def test_the_affine_map_takes_the_part_of_the_image_to_its_place_in_the_network() -> None:
    for image in SIZES:
        for network in NETWORKS:
            for mode in RESIZE_MODES:
                placement = place(image, network, mode)
                source, target = placement.source, placement.target
                for x, to_x in ((source.x, target.x), (source.x + source.width, target.x + target.width)):
                    assert placement.scale_x * x + placement.offset_x == pytest.approx(to_x, abs=1e-6)
                for y, to_y in ((source.y, target.y), (source.y + source.height, target.y + target.height)):
                    assert placement.scale_y * y + placement.offset_y == pytest.approx(to_y, abs=1e-6)


@pytest.mark.parametrize('mode', RESIZE_MODES)
def test_nothing_of_the_padding_reaches_the_image(mode: str) -> None:
    for image in SIZES:
        for network in NETWORKS:
            placement = place(image, network, mode)
            bright = placement.to_network(np.full((image[1], image[0], 3), 200, np.uint8))
            assert bright.shape == (network[1], network[0], 3)
            values = bright.max(2)  # 200 for the image, another value for the padding
            labels = placement.to_image(values, outside=255)
            assert labels.shape == (image[1], image[0])
            source, target = placement.source, placement.target
            expected = np.full(labels.shape, 255)
            expected[source.y : source.y + source.height, source.x : source.x + source.width] = 200
            assert (labels == expected).all()
            expected = np.full(values.shape, 7)
            expected[target.y : target.y + target.height, target.x : target.x + target.width] = 200
            assert (placement.without_padding(values, outside=7) == expected).all()


@pytest.mark.parametrize('size', [(1280, 720), (500, 700), (120, 50)], ids=str)
@pytest.mark.parametrize('mode', RESIZE_MODES)
def test_a_disc_stays_in_place_and_round(mode: str, size: tuple[int, int]) -> None:
    placement = place(size, (480, 360), mode)
    centre, radius = (size[0] // 2 + min(size) // 8, size[1] // 2 - min(size) // 9), min(size) // 4
    disc = cv2.circle(np.zeros((size[1], size[0]), np.uint8), centre, radius, 1, cv2.FILLED)
    seen = placement.to_network(cv2.merge([disc * 255] * 3))[..., 0] > 127
    rows, columns = np.nonzero(seen)
    # pixel i covers i to i + 1, its middle is at i + 0.5
    assert columns.mean() + 0.5 == pytest.approx(placement.scale_x * (centre[0] + 0.5) + placement.offset_x, abs=0.5)
    assert rows.mean() + 0.5 == pytest.approx(placement.scale_y * (centre[1] + 0.5) + placement.offset_y, abs=0.5)
    if mode != 'stretch':
        assert np.ptp(columns) == pytest.approx(np.ptp(rows), abs=2)
    back = placement.to_image(seen.astype(np.uint8), outside=0)
    assert (back & disc).sum() / (back | disc).sum() > 0.97


def test_padding_is_grey_and_an_undistorted_image_is_not_resampled() -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 96, 3), np.uint8)
    boxed = place((96, 40), (96, 64), 'letterbox').to_network(image)
    assert (boxed[12:52] == image).all() and (boxed[:12] == 80).all() and (boxed[52:] == 80).all()
    assert (place((96, 40), (40, 40), 'crop').to_network(image) == image[:, 28:68]).all()


@pytest.mark.parametrize('mode', RESIZE_MODES)
def test_an_image_of_the_networks_size_is_not_copied(mode: str) -> None:
    placement = place((96, 64), (96, 64), mode)
    image, values = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    assert placement.to_network(image) is image
    assert placement.to_image(values, 255) is values and placement.without_padding(values, 255) is values


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match='resize mode "fill" is unknown: choose from stretch, letterbox, crop'):
        place((4, 4), (8, 8), 'fill')

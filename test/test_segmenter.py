from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from enet_ros.errors import EnetError
from enet_ros.images.overlay import blend
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.segmenter import Segmenter, SegmenterConfig


@pytest.fixture(scope='module')
def segmenter(small_model: Path) -> Segmenter:
    return Segmenter(SegmenterConfig(small_model, precision='fp32'))


@pytest.mark.parametrize('size', [(96, 64), (1, 1), (2, 500), (500, 2), (320, 200), (97, 65), (4000, 3000)], ids=str)
def test_labels_have_the_size_of_the_image(segmenter: Segmenter, size: tuple[int, int]) -> None:
    width, height = size
    labels = segmenter.segment(np.full((height, width, 3), 90, np.uint8), 'rgb')
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    assert labels.max() < len(CAMVID)


def test_both_channel_orders_of_one_image_give_the_same_labels(segmenter: Segmenter, street: np.ndarray) -> None:
    labels = segmenter.segment(street, 'bgr').copy()
    assert (segmenter.segment(cv2.cvtColor(street, cv2.COLOR_BGR2RGB), 'rgb') == labels).all()
    assert (segmenter.engine.infer(cv2.cvtColor(street, cv2.COLOR_BGR2RGB)) == labels).all()
    assert (segmenter.segment(street, 'rgb') != labels).any()


def test_padded_rows_do_not_change_the_labels(segmenter: Segmenter, street: np.ndarray) -> None:
    padded = np.zeros((64, 128, 3), np.uint8)
    padded[:, :96] = street
    labels = segmenter.segment(street, 'bgr').copy()
    assert (segmenter.segment(padded[:, :96], 'bgr') == labels).all()


def test_labels_are_enlarged_by_nearest_neighbour(segmenter: Segmenter) -> None:
    image = draw_scene(5, 192, 128)[0]
    small = segmenter.segment(cv2.resize(image, (96, 64), interpolation=cv2.INTER_AREA), 'bgr').copy()
    assert (segmenter.segment(image, 'bgr') == small.repeat(2, 0).repeat(2, 1)).all()


def test_output_size_network_keeps_the_networks_size(small_model: Path) -> None:
    segmenter = Segmenter(SegmenterConfig(small_model, output_size='network', width=64, height=32))
    assert segmenter.segment(np.zeros((100, 200, 3), np.uint8), 'rgb').shape == (32, 64)


def test_other_classes_than_those_asked_for_become_void(small_model: Path, street: np.ndarray) -> None:
    segmenter = Segmenter(SegmenterConfig(small_model, precision='fp32'))
    everything = segmenter.segment(street, 'bgr').copy()
    kept = np.unique(everything)[:2]
    segmenter.configure(classes=[CAMVID.names[index] for index in kept])
    expected = np.where(np.isin(everything, kept), everything, VOID)
    assert (segmenter.segment(street, 'bgr') == expected).all() and VOID in expected
    segmenter.configure(classes=())
    assert (segmenter.segment(street, 'bgr') == everything).all()


def test_a_refused_change_changes_nothing(small_model: Path) -> None:
    segmenter = Segmenter(SegmenterConfig(small_model))
    with pytest.raises(EnetError, match='"Raod"'):
        segmenter.configure(classes=['Raod'], output_size='network')
    with pytest.raises(EnetError, match='output_size "half" is unknown: choose from input, network'):
        segmenter.configure(classes=['Road'], output_size='half')
    labels = segmenter.segment(np.zeros((10, 20, 3), np.uint8), 'rgb')
    assert labels.shape == (10, 20) and VOID not in labels


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8),
    np.zeros((4, 4, 3), np.float32),
], ids=lambda image: f'{image.shape} {image.dtype}')
def test_what_is_no_image_is_refused(segmenter: Segmenter, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match='H x W x 3, uint8, is needed'):
        segmenter.segment(image, 'rgb')


def test_an_overlay_mixes_class_colors_and_leaves_void_alone() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    labels = np.array([[3, VOID], [3, 8]], np.uint8)
    palette = CAMVID.palette()
    mixed = blend(image, labels, palette, 0.5)
    assert mixed[0, 0].tolist() == [114, 82, 114]  # road is 128, 64, 128
    assert mixed[0, 1].tolist() == [100, 100, 100]
    assert mixed[1, 1].tolist() == [82, 50, 114]  # car is 64, 0, 128
    assert (blend(image, labels, palette, 0.0) == image).all()
    assert (blend(image, labels, palette, 1.0)[0, 0] == palette[3]).all()
    assert (image == 100).all()


def test_an_overlay_fits_labels_of_another_size_to_the_image() -> None:
    labels = np.array([[3, 8]], np.uint8)
    colors = blend(np.zeros((2, 4, 3), np.uint8), labels, CAMVID.palette(), 1.0)
    assert (colors == CAMVID.palette()[labels.repeat(2, 0).repeat(2, 1)]).all()

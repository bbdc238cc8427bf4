"""The resize modes of a segmenter: stretch, letterbox and crop."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from enet_ros.engines.base import EngineSpec
from enet_ros.images.resize import RESIZE_MODES
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.segmenter import Segmenter

FP32 = EngineSpec(precision='fp32')
ODD_SIZES = [(96, 40), (40, 64), (1, 5000), (5000, 1), (1, 1), (320, 200), (97, 65), (33, 77)]
"""Sizes of images for a network of 96x64 pixels; the first two need no resampling to be letterboxed."""


@pytest.fixture(scope='module')
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


@pytest.fixture(scope='module')
def resizing(model: ModelFile) -> dict[str, Segmenter]:
    """Return a segmenter with confidence for each resize mode."""
    spec = EngineSpec(precision='fp32', confidence=True)
    return {mode: Segmenter(model, spec, resize_mode=mode) for mode in RESIZE_MODES}


def test_a_letterboxed_image_gets_the_labels_of_the_same_image_padded_by_hand(resizing: dict[str, Segmenter]) -> None:
    for (width, height), x, y in (((96, 40), 0, 12), ((40, 64), 28, 0)):
        image = draw_scene(5, width, height)[0]
        padded = cv2.copyMakeBorder(image, y, y, x, x, cv2.BORDER_CONSTANT, value=(80, 80, 80))
        expected = resizing['stretch'].segment(padded, 'bgr')
        boxed = resizing['letterbox'].segment(image, 'bgr')
        assert (boxed.labels == expected.labels[y : y + height, x : x + width]).all()
        assert (boxed.confidence == expected.confidence[y : y + height, x : x + width]).all()


@pytest.mark.parametrize('size', ODD_SIZES, ids=str)
def test_letterbox_labels_every_pixel_of_an_image(resizing: dict[str, Segmenter], size: tuple[int, int]) -> None:
    segmentation = resizing['letterbox'].segment(draw_scene(5, *size)[0], 'bgr')
    assert segmentation.labels.shape == segmentation.confidence.shape == size[::-1]
    assert segmentation.labels.max() < len(CAMVID) and segmentation.confidence.all()


@pytest.mark.parametrize('size', ODD_SIZES, ids=str)
def test_crop_labels_the_centre_as_if_it_were_the_image(resizing: dict[str, Segmenter], size: tuple[int, int]) -> None:
    image = draw_scene(5, *size)[0]
    cropped = resizing['crop'].segment(image, 'bgr')
    x, y, width, height = resizing['crop'].placement(size).source
    centre = slice(y, y + height), slice(x, x + width)
    alone = resizing['stretch'].segment(image[centre].copy(), 'bgr')
    for values, expected, outside in (
        (cropped.labels, alone.labels, VOID), (cropped.confidence, alone.confidence, 0),
    ):
        assert values.shape == size[::-1]
        assert (values[centre] == expected).all()
        values[centre] = outside
        assert (values == outside).all()


@pytest.mark.parametrize('size', [(96, 64), (192, 128), (48, 32), (150, 100), (3, 2)], ids=str)
def test_all_resize_modes_are_the_same_for_an_image_with_the_ratio_of_the_network(
    resizing: dict[str, Segmenter], size: tuple[int, int]
) -> None:
    image = draw_scene(5, *size)[0]
    for output_size in ('input', 'network'):
        for segmenter in resizing.values():
            segmenter.configure(output_size=output_size)
        stretched, *others = (segmenter.segment(image, 'bgr') for segmenter in resizing.values())
        for other in others:
            assert (other.labels == stretched.labels).all() and (other.confidence == stretched.confidence).all()
        assert stretched.labels.max() < len(CAMVID)
    for segmenter in resizing.values():
        segmenter.configure(output_size='input')


def test_in_the_networks_size_the_padding_is_void(resizing: dict[str, Segmenter]) -> None:
    image = draw_scene(5, 192, 80)[0]
    for mode, rows in (('stretch', slice(0, 64)), ('letterbox', slice(12, 52)), ('crop', slice(0, 64))):
        segmenter = resizing[mode]
        in_image = segmenter.segment(image, 'bgr')
        segmenter.configure(output_size='network')
        segmentation = segmenter.segment(image, 'bgr')
        segmenter.configure(output_size='input')
        expected = np.zeros((64, 96), bool)
        expected[rows] = True
        assert ((segmentation.labels != VOID) == expected).all()
        assert ((segmentation.confidence != 0) == expected).all()
        if mode == 'letterbox':  # 192x80 is twice 96x40
            assert (segmentation.labels[rows].repeat(2, 0).repeat(2, 1) == in_image.labels).all()


@pytest.mark.parametrize('mode', ['letterbox', 'crop'])
def test_classes_and_batches_work_in_every_resize_mode(model: ModelFile, mode: str) -> None:
    images = [draw_scene(number, *size)[0] for number, size in enumerate(ODD_SIZES)]
    alone = Segmenter(model, FP32, resize_mode=mode)
    batched = Segmenter(model, EngineSpec(precision='fp32', batch=3), resize_mode=mode)
    kept = [alone.segment(image, 'bgr').labels for image in images]
    together = batched.segment_all(images, 'bgr')
    for labels, segmentation in zip(kept, together):
        assert segmentation.labels.shape == labels.shape
        assert (segmentation.labels == labels).mean() > 0.99
    most = np.bincount(kept[0].ravel(), minlength=256)[: len(CAMVID)].argmax()
    alone.configure(classes=[CAMVID.names[most]])
    for image, labels in zip(images, kept):
        assert (alone.segment(image, 'bgr').labels == np.where(labels == most, most, VOID)).all()


@pytest.mark.parametrize('mode', RESIZE_MODES)
@pytest.mark.parametrize('size', ODD_SIZES[:2], ids=str)
def test_labels_in_every_resize_mode_belong_to_the_caller(
    resizing: dict[str, Segmenter], mode: str, size: tuple[int, int]
) -> None:
    first = resizing[mode].segment(draw_scene(3, *size)[0], 'bgr')
    labels, confidence = first.labels.copy(), first.confidence.copy()
    second = resizing[mode].segment(draw_scene(40, *size)[0][:, ::-1], 'bgr')
    assert (second.labels != labels).any()
    assert (first.labels == labels).all() and (first.confidence == confidence).all()
    assert first.labels.flags.c_contiguous and first.confidence.flags.c_contiguous  # as messages need them

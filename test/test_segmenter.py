from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.errors import EnetError, EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.segmenter import Segmenter

FP32 = EngineSpec(precision='fp32')


@pytest.fixture(scope='module')
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


@pytest.fixture(scope='module')
def segmenter(model: ModelFile) -> Segmenter:
    return Segmenter(model, FP32)


@pytest.fixture(scope='module')
def batched(model: ModelFile) -> Segmenter:
    return Segmenter(model, EngineSpec(precision='fp32', batch=3, confidence=True))


@pytest.mark.parametrize('size', [(96, 64), (1, 1), (2, 500), (500, 2), (320, 200), (97, 65), (4000, 3000)], ids=str)
def test_labels_have_the_size_of_the_image(segmenter: Segmenter, size: tuple[int, int]) -> None:
    width, height = size
    labels = segmenter.segment(np.full((height, width, 3), 90, np.uint8), 'rgb').labels
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    assert labels.max() < len(CAMVID)


def test_both_channel_orders_of_an_image_give_the_same_labels(segmenter: Segmenter, street: np.ndarray) -> None:
    rgb = cv2.cvtColor(street, cv2.COLOR_BGR2RGB)
    labels = segmenter.segment(street, 'bgr').labels
    assert (segmenter.segment(rgb, 'rgb').labels == labels).all()
    assert (segmenter.engine.infer(rgb[None]).labels[0] == labels).all()
    assert (segmenter.segment(street, 'rgb').labels != labels).any()


def test_padded_rows_do_not_change_the_labels(segmenter: Segmenter, street: np.ndarray) -> None:
    padded = np.zeros((64, 128, 3), np.uint8)
    padded[:, :96] = street
    labels = segmenter.segment(street, 'bgr').labels
    assert (segmenter.segment(padded[:, :96], 'bgr').labels == labels).all()
    assert (segmenter.segment(padded[:, :96, ::-1], 'rgb').labels == labels).all()


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_an_image_that_cannot_be_written_to_is_segmented_and_not_changed(
    backend: str, model: ModelFile, street: np.ndarray, recwarn: pytest.WarningsRecorder
) -> None:
    image = np.frombuffer(street.tobytes(), np.uint8).reshape(street.shape)
    segmenter = Segmenter(model, EngineSpec(backend, 'fp32'))
    assert (segmenter.segment(image, 'rgb').labels == segmenter.segment(street, 'rgb').labels).all()
    assert (image == street).all() and not recwarn.list


def test_labels_are_enlarged_by_nearest_neighbour(segmenter: Segmenter) -> None:
    image = draw_scene(5, 192, 128)[0]
    small = segmenter.segment(cv2.resize(image, (96, 64), interpolation=cv2.INTER_AREA), 'bgr').labels
    assert (segmenter.segment(image, 'bgr').labels == small.repeat(2, 0).repeat(2, 1)).all()


def test_output_size_network_keeps_the_size_of_the_network(model: ModelFile) -> None:
    spec = EngineSpec(width=64, height=32, confidence=True)
    segmentation = Segmenter(model, spec, output_size='network').segment(np.zeros((100, 200, 3), np.uint8), 'rgb')
    assert segmentation.labels.shape == segmentation.confidence.shape == (32, 64)


def test_several_images_of_any_size_get_what_each_gets_alone(segmenter: Segmenter, batched: Segmenter) -> None:
    # 4 images in batches of 3: the last batch is not full
    images = [draw_scene(number, *size)[0] for number, size in enumerate([(96, 64), (50, 40), (200, 100), (96, 64)])]
    together = batched.segment_all(images, 'bgr')
    assert len(together) == 4
    for image, segmentation in zip(images, together):
        alone = segmenter.segment(image, 'bgr')
        assert segmentation.labels.shape == image.shape[:2]
        assert (segmentation.labels == alone.labels).mean() > 0.999
        assert segmentation.confidence is not None and segmentation.confidence.shape == image.shape[:2]
        assert alone.confidence is None


def test_no_images_give_no_segmentations(batched: Segmenter) -> None:
    assert batched.segment_all([], 'bgr') == []


@pytest.mark.parametrize('size', [(96, 64), (50, 40)], ids=['size of the network', 'another size'])
def test_a_later_call_does_not_change_earlier_results(
    size: tuple[int, int], segmenter: Segmenter, batched: Segmenter
) -> None:
    for each in (segmenter, batched):
        first = each.segment(draw_scene(3, *size)[0], 'bgr')
        labels = first.labels.copy()
        confidence = None if first.confidence is None else first.confidence.copy()
        second = each.segment(draw_scene(40, *size)[0], 'bgr')
        assert (second.labels != labels).any()  # the engine computed something else
        assert (first.labels == labels).all()
        assert confidence is None or (first.confidence == confidence).all()
        first.labels[:] = 7  # they belong to the caller
        assert (each.segment(draw_scene(3, *size)[0], 'bgr').labels == labels).all()


def test_classes_that_are_not_asked_for_become_void(model: ModelFile, street: np.ndarray) -> None:
    segmenter = Segmenter(model, EngineSpec(precision='fp32', confidence=True))
    everything = segmenter.segment(street, 'bgr')
    kept = np.unique(everything.labels)[:2]
    segmenter.configure(classes=[CAMVID.names[index] for index in kept])
    expected = np.where(np.isin(everything.labels, kept), everything.labels, VOID)
    some = segmenter.segment(street, 'bgr')
    assert (some.labels == expected).all() and VOID in expected
    assert (some.confidence == everything.confidence).all()
    segmenter.configure(classes=())
    assert (segmenter.segment(street, 'bgr').labels == everything.labels).all()


def test_a_setting_that_is_not_given_stays(model: ModelFile, street: np.ndarray) -> None:
    segmenter = Segmenter(model, FP32, classes=['Road'], output_size='network')
    large = cv2.resize(street, (192, 128))
    segmenter.configure(classes=['Sky'])
    assert segmenter.segment(large, 'bgr').labels.shape == (64, 96)
    segmenter.configure(output_size='input')
    labels = segmenter.segment(large, 'bgr').labels
    assert labels.shape == (128, 192) and set(np.unique(labels)) <= {CAMVID.names.index('Sky'), VOID}


def test_a_refused_change_changes_nothing(model: ModelFile) -> None:
    segmenter = Segmenter(model, FP32)
    with pytest.raises(EnetError, match='"Raod"'):
        segmenter.configure(classes=['Raod'], output_size='network')
    with pytest.raises(EnetError, match='output_size "half" is unknown: choose from input, network'):
        segmenter.configure(classes=['Road'], output_size='half')
    labels = segmenter.segment(np.zeros((10, 20, 3), np.uint8), 'rgb').labels
    assert labels.shape == (10, 20) and VOID not in labels


class _Output:
    """Shows by one image which of two settings is in use: all classes at 8x8 pixels, or none of those seen at 32x32."""

    def __init__(self, model: ModelFile) -> None:
        self.segmenter = Segmenter(model, EngineSpec(precision='fp32', width=32, height=32))
        self._image = np.zeros((8, 8, 3), np.uint8)
        seen = self.segmenter.segment(np.zeros((32, 32, 3), np.uint8), 'rgb').labels
        self._other = next(name for index, name in enumerate(CAMVID.names) if index not in seen)

    def change(self) -> None:
        self.segmenter.configure(classes=[self._other], output_size='network')

    def look(self, images: int = 1) -> list[tuple[tuple[int, ...], bool]]:
        """Return of each image the size of its labels and whether all are void."""
        segmentations = self.segmenter.segment_all([self._image] * images, 'rgb')
        return [(each.labels.shape, bool((each.labels == VOID).all())) for each in segmentations]


OLD, NEW = ((8, 8), False), ((32, 32), True)


def test_images_that_are_being_segmented_keep_the_settings_they_started_with(model: ModelFile) -> None:
    output = _Output(model)
    engine = output.segmenter.engine

    class Changing:
        """Changes the settings while it computes."""

        spec = engine.spec

        def infer(self, images: np.ndarray) -> Prediction:
            output.change()
            return engine.infer(images)

    output.segmenter.engine = Changing()
    assert output.look(images=3) == [OLD] * 3
    assert output.look() == [NEW]


def test_an_image_sees_all_of_a_change_or_nothing(model: ModelFile) -> None:
    output = _Output(model)
    seen = output.look()

    def at_every_line(frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code is Segmenter.configure.__code__ and event == 'line':
            seen.extend(output.look())
        return at_every_line

    before = sys.gettrace()
    sys.settrace(at_every_line)  # as if another thread segmented there
    try:
        output.change()
    finally:
        sys.settrace(before)
    seen += output.look()
    assert len(seen) > 5 and set(seen) == {OLD, NEW}


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8),
    np.zeros((4, 4, 3), np.float32),
], ids=lambda image: f'{image.shape} {image.dtype}')
def test_an_array_that_is_not_an_image_is_refused(segmenter: Segmenter, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'has shape .* and type .*must be H x W x 3, uint8'):
        segmenter.segment(image, 'rgb')


def test_a_wrong_setting_is_reported_before_the_engine_is_made(model: ModelFile) -> None:
    impossible = EngineSpec('tensorflow')
    with pytest.raises(EnetError, match='"Raod"'):
        Segmenter(model, impossible, classes=['Raod'])
    with pytest.raises(EnetError, match='resize_mode "fill" is unknown: choose from stretch, letterbox, crop'):
        Segmenter(model, impossible, resize_mode='fill')
    with pytest.raises(EngineError, match='tensorflow'):
        Segmenter(model, impossible)

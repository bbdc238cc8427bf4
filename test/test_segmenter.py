from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.errors import EnetError, EngineError
from enet_ros.images.resize import RESIZE_MODES
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


ODD_SIZES = [(96, 40), (40, 64), (1, 5000), (5000, 1), (1, 1), (320, 200), (97, 65), (33, 77)]
"""Sizes of images for a network of 96x64 pixels; the first two need no resampling to be letterboxed."""


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


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_confidence_is_added_and_removed_and_changes_nothing_else(
    backend: str, model: ModelFile, street: np.ndarray
) -> None:
    spec = EngineSpec(backend, 'fp32', 64, 32, threads=1)
    segmenter = Segmenter(model, spec, classes=['Road', 'Sky'], output_size='network')
    labels = segmenter.segment(street, 'bgr').labels
    expected = Segmenter(model, replace(spec, confidence=True), output_size='network').segment(street, 'bgr').confidence
    for wanted in (True, False, True):
        segmenter.set_confidence(wanted)
        segmentation = segmenter.segment(street, 'bgr')
        assert (segmentation.labels == labels).all() and segmenter.engine.spec == replace(spec, confidence=wanted)
        assert (segmentation.confidence == expected).all() if wanted else segmentation.confidence is None
    engine = segmenter.engine
    segmenter.set_confidence(True)
    assert segmenter.engine is engine


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_an_engine_is_released_when_another_replaces_it_and_with_its_segmenter(backend: str, model: ModelFile) -> None:
    gc.disable()  # reference counting must be enough
    try:
        segmenter = Segmenter(model, EngineSpec(backend, 'fp32'))
        first = weakref.ref(segmenter.engine)
        segmenter.set_confidence(True)
        second = weakref.ref(segmenter.engine)
        assert first() is None and second() is not None
        del segmenter
        assert second() is None
    finally:
        gc.enable()


def test_the_engine_stays_when_the_other_one_cannot_be_created(
    model: ModelFile, street: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(model, EngineSpec('openvino', 'fp32'))
    engine, labels = segmenter.engine, segmenter.segment(street, 'bgr').labels
    def fail(*_: object) -> None:
        raise EngineError('out of memory')

    monkeypatch.setattr('enet_ros.segmenter.create_engine', fail)
    with pytest.raises(EngineError, match='out of memory'):
        segmenter.set_confidence(True)
    assert segmenter.engine is engine
    assert (segmenter.segment(street, 'bgr').labels == labels).all()


def test_images_that_are_being_segmented_keep_the_engine_they_started_with(model: ModelFile) -> None:
    segmenter = Segmenter(model, FP32)
    engine = segmenter.engine

    class Replaced:
        """Is replaced while it computes."""

        spec = engine.spec

        def infer(self, images: np.ndarray) -> Prediction:
            segmenter.set_confidence(True)
            return engine.infer(images)

    segmenter.engine = Replaced()
    image = np.zeros((8, 8, 3), np.uint8)
    assert [each.confidence for each in segmenter.segment_all([image] * 3, 'rgb')] == [None] * 3
    assert segmenter.segment(image, 'rgb').confidence is not None


def test_a_replaced_engine_is_not_released_by_the_thread_that_segments(model: ModelFile, street: np.ndarray) -> None:
    segmenter = Segmenter(model, FP32)
    engine, infer_started, replaced = segmenter.engine, threading.Event(), threading.Event()
    released_by: list[threading.Thread] = []

    class Slow:
        """Computes until the new engine is in use."""

        spec = engine.spec

        def infer(self, images: np.ndarray) -> Prediction:
            infer_started.set()
            replaced.wait(timeout=30)
            return engine.infer(images)

    segmenter.engine = Slow()
    weakref.finalize(segmenter.engine, lambda: released_by.append(threading.current_thread()))
    segmenting = threading.Thread(target=segmenter.segment, args=(street, 'bgr'))
    segmenting.start()
    assert infer_started.wait(timeout=30)
    switching = threading.Thread(target=segmenter.set_confidence, args=(True,))
    switching.start()
    while switching.is_alive() and not segmenter.engine.spec.confidence:
        time.sleep(0.01)
    assert switching.is_alive() and not released_by  # waits for the call
    replaced.set()
    switching.join()
    segmenting.join()
    assert released_by == [switching]


def test_one_thread_segments_while_another_switches_confidence(model: ModelFile, street: np.ndarray) -> None:
    segmenter = Segmenter(model, FP32)
    labels = segmenter.segment(street, 'bgr').labels
    switches = threading.Thread(target=lambda: [segmenter.set_confidence(wanted) for wanted in [True, False] * 5])
    switches.start()
    with_confidence: set[bool] = set()
    while switches.is_alive():
        segmentation = segmenter.segment(street, 'bgr')
        assert (segmentation.labels == labels).all()
        with_confidence.add(segmentation.confidence is not None)
    switches.join()
    assert with_confidence == {True, False}


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

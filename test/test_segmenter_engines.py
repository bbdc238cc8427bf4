"""A segmenter whose engine is replaced by one with or without confidence, also while it segments."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.segmenter import Segmenter

FP32 = EngineSpec(precision='fp32')


@pytest.fixture(scope='module')
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


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

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from recordings import write_mcap

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError, ImageMessageError
from enet_ros.images.frames import Frame
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model
from enet_ros.replay.collector import Collector
from enet_ros.replay.frames import ReplayFrame, SegmentedFrame
from enet_ros.replay.job import create_segmenters
from enet_ros.replay.offline import replay_offline
from enet_ros.replay.recording import Selection, open_recording
from enet_ros.replay.results import BagInfo, ReplayResult
from enet_ros.segmenter import Segmenter

INFO = BagInfo('drive', '0' * 64, '/image', '/labels', 5, 1.0)


@pytest.fixture(scope='module')
def segmenter(shipped_model: Path) -> Segmenter:
    return Segmenter(read_model(shipped_model), EngineSpec('openvino', width=96, height=64, threads=1, confidence=True))


class DrawnRecording:
    """Frames without a bag, each with the given decoders of image and ground truth."""

    info = INFO
    losses = ()

    def __init__(self, frames: list[ReplayFrame]) -> None:
        self._frames = frames
        self.count = len(frames)

    def __iter__(self) -> Iterator[ReplayFrame]:
        return iter(self._frames)


def drawn(number: int) -> ReplayFrame:
    image, labels = draw_scene(number, 96, 64)
    frame = Frame(f'frame{number}', number / 10, Path('drive'), lambda: image, '/image', (number, 0))
    return ReplayFrame(frame, lambda: labels)


def fail(error: BaseException) -> None:
    raise error


def replay(frames: list[ReplayFrame], segmenter: Segmenter, **options: object) -> ReplayResult:
    return replay_offline(DrawnRecording(frames), [segmenter], Collector(segmenter.labels), lambda: None, **options)


def test_every_frame_is_segmented_in_order_as_by_the_segmenter_alone(segmenter: Segmenter) -> None:
    seen: list[SegmentedFrame] = []
    counted: list[int] = []
    frames = [drawn(number) for number in range(20)]
    result = replay_offline(DrawnRecording(frames), [segmenter], Collector(segmenter.labels), lambda: counted.append(1),
                            [seen.append])
    assert [frame.name for frame in result.frames] == [f'frame{number}' for number in range(20)]
    assert len(counted) == 20
    for frame, replayed in zip(seen, frames):
        alone = segmenter.segment(replayed.frame.decode(), 'bgr')
        assert np.array_equal(frame.labels, alone.labels) and np.array_equal(frame.confidence, alone.confidence)
        assert np.array_equal(frame.truth, replayed.truth())
    assert result.coverage.selected == result.coverage.segmented == result.coverage.with_truth == 20
    assert result.coverage.complete


def test_calls_that_warm_up_are_not_measured(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(segmenter, 'segment', lambda *image: calls.append(1) or Segmenter.segment(segmenter, *image))
    result = replay([drawn(0), drawn(1)], segmenter)
    latencies = result.timing['latency_ms']
    assert len(calls) > len(latencies) == 2
    assert 0 < sum(latencies) <= 1000 * result.timing['seconds']


def test_frames_that_cannot_be_used_are_counted_and_named(segmenter: Segmenter) -> None:
    frames = [drawn(number) for number in range(5)]
    frames[1] = replace(frames[1], frame=replace(
        frames[1].frame, decode=partial(fail, ImageMessageError('frame1: is damaged'))))
    frames[2] = replace(frames[2], truth=lambda: np.zeros((10, 10), np.uint8))
    frames[3] = replace(frames[3], truth=None)
    coverage = replay(frames, segmenter).coverage
    assert (coverage.selected, coverage.segmented, coverage.refused) == (5, 4, 1)
    assert (coverage.with_truth, coverage.without_truth, coverage.truth_refused) == (2, 1, 1)
    assert coverage.problems == (
        '1 images cannot be used, the first: frame1: is damaged',
        '1 images have ground truth that cannot be used, the first: frame2: the ground truth is 10x10 pixels, the image '
        '96x64: both must have the same size',
    )


def test_stamps_that_do_not_increase_are_noted(segmenter: Segmenter) -> None:
    frames = [drawn(number) for number in (0, 1, 1, 5, 2, 3)]
    result = replay(frames, segmenter)
    assert result.coverage.complete and result.coverage.segmented == 6
    assert result.coverage.notes == ('the stamps of the images do not increase: 1 repeat the one before, 1 are earlier',)
    assert replay([drawn(0), drawn(1)], segmenter).coverage.notes == ()


def test_a_bag_in_which_no_frame_has_ground_truth_is_incomplete(segmenter: Segmenter) -> None:
    coverage = replay([replace(drawn(number), truth=None) for number in range(3)], segmenter).coverage
    assert coverage.without_truth == 3
    assert coverage.problems == ('no image has ground truth on /labels: check the topic and the tolerance',)


def test_no_frame_gives_an_empty_result(segmenter: Segmenter) -> None:
    result = replay([], segmenter)
    assert result.frames == () and result.timing == {'latency_ms': [], 'seconds': 0.0}


@pytest.mark.parametrize('error', [EnetError('the disk is full'), KeyboardInterrupt()], ids=['error', 'interrupt'])
@pytest.mark.parametrize('where', ['read', 'progress', 'output'])
def test_what_goes_wrong_anywhere_is_raised_and_ends_all_threads(
    segmenter: Segmenter, where: str, error: BaseException
) -> None:
    frames = [drawn(number) for number in range(30)]
    if where == 'read':
        frames[10] = replace(frames[10], frame=replace(frames[10].frame, decode=partial(fail, MemoryError(where))))
        error = MemoryError(where)
    outputs = [lambda frame: fail(error)] if where == 'output' else []
    progress = partial(fail, error) if where == 'progress' else lambda: None
    before = threading.active_count()
    with pytest.raises(type(error)):
        replay_offline(DrawnRecording(frames), [segmenter], Collector(segmenter.labels), progress, outputs)
    assert threading.active_count() == before


def test_two_replays_of_a_bag_give_the_same_but_for_timing(segmenter: Segmenter, tmp_path: Path) -> None:
    bag = write_mcap(tmp_path / 'drive.mcap', 12)
    recording = open_recording(bag, Selection(), None, segmenter.labels)
    one, two = (
        replay_offline(recording, [segmenter], Collector(segmenter.labels), lambda: None) for _ in range(2)
    )
    assert one.frames == two.frames and one.bag == two.bag and len(one.frames) == 12
    assert np.array_equal(one.confidence_histogram, two.confidence_histogram)


@pytest.mark.parametrize(('backend', 'threads', 'expected'), [
    ('openvino', 2, [1, 1]), ('openvino', 1, [1]), ('torch', 2, [2]),
], ids=['openvino', 'openvino, one thread', 'torch'])
def test_openvino_gets_an_engine_for_each_thread(
    backend: str, threads: int, expected: list[int], shipped_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('os.sched_getaffinity', lambda process: {0, 1})
    spec = EngineSpec(backend, width=96, height=64, threads=threads)
    segmenters = create_segmenters(read_model(shipped_model), spec, 'crop')
    assert [segmenter.engine.spec.threads for segmenter in segmenters] == expected
    assert len({id(segmenter.engine) for segmenter in segmenters}) == len(expected)


def test_several_engines_give_the_result_of_one(shipped_model: Path) -> None:
    spec = EngineSpec('openvino', width=96, height=64, threads=1, confidence=True)
    segmenters = [Segmenter(read_model(shipped_model), spec) for _ in range(3)]
    frames = [drawn(number) for number in range(20)]
    frames[7] = replace(frames[7], frame=replace(frames[7].frame, decode=partial(fail, ImageMessageError('bad encoding'))))
    one, three = (
        replay_offline(DrawnRecording(frames), some, Collector(segmenters[0].labels), lambda: None)
        for some in (segmenters[:1], segmenters)
    )
    assert one.frames == three.frames
    assert one.coverage == three.coverage and three.coverage.refused == 1
    assert np.array_equal(one.confusion, three.confusion)

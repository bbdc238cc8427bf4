"""Replay a recording without ROS: every frame through the segmenter, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enet_ros.replay.collector import Collector
from enet_ros.replay.coverage import CoverageCounter
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.pipeline import read_ahead, work_behind
from enet_ros.replay.recording import Recording
from enet_ros.replay.results import ReplayResult
from enet_ros.segmenter import Segmenter

WARM_UP = 3
"""Calls of the segmenter with the first image before the first one that counts."""
_AHEAD = 4
"""Images between two threads: enough for frames that take longer, few enough for large images."""


@dataclass(frozen=True)
class _DecodedFrame:
    name: str
    seconds: float
    stamp: tuple[int, int] | None
    image: NDArray[np.uint8] | None
    truth: NDArray[np.uint8] | None


def replay_offline(
    recording: Recording, segmenter: Segmenter, collector: Collector, progress: Callable[[], object],
    outputs: Sequence[Callable[[SegmentedFrame], object]] = (),
) -> ReplayResult:
    """Segment every frame of `recording` and return what `collector` made of it.

    One thread reads and decodes, the calling thread segments, and a third one feeds `collector` and then each of `outputs`.
    `progress` is called on the calling thread, once for every frame. A latency is the time of `Segmenter.segment`.

    Raises:
        EnetError: the recording cannot be read, or an output fails.

    """
    counter = CoverageCounter(recording.info.labels_topic)

    def collect(frame: SegmentedFrame) -> None:
        counter.add(frame)
        for output in (collector.update, *outputs):
            output(frame)

    start: float | None = None
    with read_ahead(_decode(recording, counter), _AHEAD) as frames, work_behind(collect, _AHEAD) as collect_later:
        for frame in frames:
            if frame.image is not None:
                if start is None:
                    for _ in range(WARM_UP):
                        segmenter.segment(frame.image, 'bgr')
                    start = time.perf_counter()
                before = time.perf_counter()
                segmentation = segmenter.segment(frame.image, 'bgr')
                latency = time.perf_counter() - before
                collect_later(SegmentedFrame(
                    frame.name, frame.seconds, frame.stamp, frame.image, segmentation.labels, segmentation.confidence,
                    frame.truth, latency))
            progress()
    seconds = 0.0 if start is None else time.perf_counter() - start
    return collector.result(recording.info, counter.result(recording.losses), {'seconds': seconds})


def _decode(recording: Recording, counter: CoverageCounter) -> Iterator[_DecodedFrame]:
    for replayed in recording:
        image = counter.decode(replayed)
        truth = None if image is None else counter.decode_truth(replayed, image.shape[:2])
        frame = replayed.frame
        yield _DecodedFrame(frame.name, frame.seconds or 0.0, frame.stamp, image, truth)

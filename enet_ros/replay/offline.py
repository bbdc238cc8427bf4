"""Replay a recording without ROS: every frame through the segmenter, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from enet_ros.replay.collector import Collector
from enet_ros.replay.coverage import CoverageCounter
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.pipeline import map_in_order, read_ahead
from enet_ros.replay.recording import Recording
from enet_ros.replay.results import ReplayResult
from enet_ros.segmenter import Segmenter

WARM_UP = 3
"""Calls of each segmenter with the first image before the first one that counts."""
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
    recording: Recording, segmenters: Sequence[Segmenter], collector: Collector, progress: Callable[[], object],
    outputs: Sequence[Callable[[SegmentedFrame], object]] = (),
) -> ReplayResult:
    """Segment every frame of `recording` and return what `collector` made of it.

    One thread reads and decodes, one for each of `segmenters` segments, and the calling thread feeds `collector` and then
    each of `outputs`, in the order of the frames. `progress` is called once for every frame. A latency is the time of
    `Segmenter.segment`, beside the work of the other threads.

    Raises:
        EnetError: the recording cannot be read, or an output fails.

    """
    counter = CoverageCounter(recording.info.labels_topic)
    start: float | None = None

    def warmed_up(frames: Iterator[_DecodedFrame]) -> Iterator[_DecodedFrame]:
        nonlocal start
        for frame in frames:
            if start is None and frame.image is not None:
                for segmenter in WARM_UP * tuple(segmenters):
                    segmenter.segment(frame.image, 'bgr')
                start = time.perf_counter()
            yield frame

    works = [partial(_segment, segmenter) for segmenter in segmenters]
    with read_ahead(_decode(recording, counter), _AHEAD) as frames, map_in_order(works, warmed_up(frames)) as segmented:
        for frame in segmented:
            if frame:
                counter.add(frame)
                for output in (collector.update, *outputs):
                    output(frame)
            progress()
    seconds = 0.0 if start is None else time.perf_counter() - start
    return collector.result(recording.info, counter.result(recording.losses), {'seconds': seconds})


def _decode(recording: Recording, counter: CoverageCounter) -> Iterator[_DecodedFrame]:
    for replayed in recording:
        image = counter.decode(replayed)
        truth = None if image is None else counter.decode_truth(replayed, image.shape[:2])
        frame = replayed.frame
        yield _DecodedFrame(frame.name, frame.seconds or 0.0, frame.stamp, image, truth)


def _segment(segmenter: Segmenter, frame: _DecodedFrame) -> SegmentedFrame | None:
    """Return the frame with its labels; None if its image could not be decoded."""
    if frame.image is None:
        return None
    before = time.perf_counter()
    segmentation = segmenter.segment(frame.image, 'bgr')
    latency = time.perf_counter() - before
    return SegmentedFrame(
        frame.name, frame.seconds, frame.stamp, frame.image, segmentation.labels, segmentation.confidence, frame.truth,
        latency)

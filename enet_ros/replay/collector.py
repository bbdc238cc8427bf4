"""Turns the segmented frames of a bag into its result, one frame at a time, with a memory that hardly grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from enet_ros.evaluation.boundary import near_boundary
from enet_ros.evaluation.metrics import confusion_matrix, global_accuracy, mean_iou
from enet_ros.labels import LabelSet
from enet_ros.replay.confused_frames import ConfusedFrames
from enet_ros.replay.distributions import class_share, confidence_histogram, mean_confidence
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.pictures import PictureChooser
from enet_ros.replay.results import BagInfo, Coverage, FrameResult, ReplayResult
from enet_ros.replay.stability import FlipCounter


class Collector:
    """Computes all figures of a bag. It keeps figures of every frame, but images of a fixed number of frames only."""

    def __init__(self, labels: LabelSet) -> None:
        """Begin a bag that is segmented into the classes of `labels`."""
        self._labels = labels
        self._frames: list[FrameResult] = []
        self._latency_ms: list[float | None] = []
        self._confusion = np.zeros((len(labels), len(labels) + 1), np.int64)
        self._boundary_confusion = np.zeros_like(self._confusion)
        self._confused = ConfusedFrames(len(labels))
        self._confidence: np.ndarray[Any, np.dtype[np.int64]] | None = None
        self._flips = FlipCounter()
        self._pictures = PictureChooser()
        self._with_truth = False

    def update(self, frame: SegmentedFrame) -> None:
        """Take the next frame of the bag.

        Raises:
            ValueError: the ground truth has another shape than the labels, or an id is neither a class nor void. Nothing is
                counted then.

        """
        accuracy = iou = confidence = None
        if frame.truth is not None:
            confusion = confusion_matrix(frame.truth, frame.labels, len(self._labels))
            near = near_boundary(frame.truth)
            self._confusion += confusion
            self._boundary_confusion += confusion_matrix(frame.truth[near], frame.labels[near], len(self._labels))
            self._confused.update(len(self._frames), confusion)
            accuracy, iou = global_accuracy(confusion), mean_iou(confusion)
        if frame.confidence is not None:
            histogram = confidence_histogram(frame.confidence, frame.labels)
            self._confidence = histogram if self._confidence is None else self._confidence + histogram
            confidence = mean_confidence(histogram)
        self._choose(frame, iou, confidence)
        shares = class_share(frame.labels, len(self._labels))
        flips = self._flips.update(frame.image, frame.labels)
        self._frames.append(
            FrameResult(frame.name, frame.seconds, iou, accuracy, flips, confidence, tuple(shares.tolist())))
        self._latency_ms.append(None if frame.latency is None else 1000 * frame.latency)

    def result(self, bag: BagInfo, coverage: Coverage, timing: Mapping[str, Any]) -> ReplayResult:
        """Return the result of the frames so far. `timing` is added to the latencies of the frames."""
        return ReplayResult(
            bag=bag,
            coverage=coverage,
            frames=tuple(self._frames),
            confusion=self._confusion.copy(),
            boundary_confusion=self._boundary_confusion.copy(),
            confusion_frames=self._confused.result(),
            confidence_histogram=self._confidence,
            worst=self._pictures.worst(self._labels),
            typical=self._pictures.typical(self._labels),
            timing={'latency_ms': list(self._latency_ms), **timing},
        )

    def _choose(self, frame: SegmentedFrame, iou: float | None, confidence: float | None) -> None:
        """Offer a frame as a picture, by its mean IoU, or, as long as no frame had one, by its confidence."""
        if iou is not None and not self._with_truth:
            self._with_truth = True
            self._pictures = PictureChooser()
        score = iou if self._with_truth else confidence
        if score is not None:
            self._pictures.update(len(self._frames), frame, score)

"""A sketch, to be replaced."""
# ruff: noqa

from __future__ import annotations

from typing import Any

import numpy as np

from enet_ros.evaluation.metrics import confusion_matrix, global_accuracy, mean_iou
from enet_ros.labels import LabelSet
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.results import BagInfo, Coverage, FrameResult, ReplayResult


class Collector:
    def __init__(self, labels: LabelSet) -> None:
        self._classes = len(labels)
        self._latency: list[float] = []
        self._frames: list[FrameResult] = []
        self._confusion = np.zeros((self._classes, self._classes + 1), np.int64)
        self._histogram = np.zeros(256, np.int64)

    def update(self, frame: SegmentedFrame) -> None:
        one = None
        self._latency.append(1000 * (frame.latency or 0))
        if frame.truth is not None:
            one = confusion_matrix(frame.truth, frame.labels, self._classes)
            self._confusion += one
        confidence = None
        if frame.confidence is not None:
            self._histogram += np.bincount(frame.confidence.reshape(-1), minlength=256)
            confidence = float(frame.confidence.mean()) / 255
        share = np.bincount(frame.labels.reshape(-1), minlength=256)[:self._classes] / frame.labels.size
        self._frames.append(FrameResult(
            frame.name, frame.seconds, None if one is None else mean_iou(one), None if one is None else global_accuracy(one),
            None, confidence, tuple(share.tolist())))

    def result(self, bag: BagInfo, coverage: Coverage, timing: dict[str, Any]) -> ReplayResult:
        return ReplayResult(bag, coverage, tuple(self._frames), self._confusion, np.zeros_like(self._confusion), {},
                            self._histogram, (), (), {'latency_ms': self._latency, **timing})

"""Results of replayed bags, made without images: every figure can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from enet_ros.errors import EnetError
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.model_file import ModelFile, ModelInfo
from enet_ros.replay.report import build_report
from enet_ros.replay.results import BagInfo, Coverage, FrameResult, ReplayResult

LABELS = LabelSet(('Sky', 'Road', 'Traffic light'), ((70, 130, 180), (128, 64, 128), (250, 170, 30)))
MODEL = ModelFile(Path('models/model.safetensors'), ModelInfo(ENetArchitecture(3), LABELS, (96, 64), 'drawn', {}, 'free'),
                  {}, 'ab' * 32)
CONFIGURATION = {
    'backend': 'openvino', 'precision': 'float32', 'device': 'CPU', 'width': 96, 'height': 64, 'resize_mode': 'stretch',
    'threads': 0, 'classes': list(LABELS.names), 'topics': [], 'tolerance': 0.05, 'start': 0.0, 'duration': None, 'every': 1,
    'max_frames': None, 'class_map': None, 'ignore': [],
}
CONFUSION = ((60, 20, 0, 0), (10, 90, 0, 0), (0, 0, 0, 0))
"""Sky and Road; the ground truth has no Traffic light."""
LIVE = {
    'published': 8, 'jitter_ms': 1.5, 'drops': {'dds': 1, 'queue': 0, 'overwritten': 3, 'refused': 0, 'returning': 0},
    'stages_ms': {'wait': {'p50': 0.2, 'p99': 1.1}, 'read': {'p50': 0.4, 'p99': 0.9}, 'network': {'p50': 15.5, 'p99': 19.0},
                  'publish': {'p50': 0.6, 'p99': 1.3}, 'total': {'p50': 16.9, 'p99': None}},
    'cpu_percent': 31.8, 'memory_mb': 317.5, 'late_ms': 1.25, 'highest_rate_hz': None,
}
"""What `live_figures` returns; the last windows of the node had too few images for a 99th percentile of the sum."""


def bag(name: str = 'drive.mcap', digest: str = '1', labels_topic: str = '/labels') -> BagInfo:
    return BagInfo(name, digest * 64, '/camera/image_raw', labels_topic, 4, 0.3)


def frame(number: int, mean_iou: float | None = 0.6, flips: float | None = 0.01) -> FrameResult:
    accuracy = None if mean_iou is None else 0.8
    return FrameResult(f'{number}', number / 10, mean_iou, accuracy, flips, 0.9, (0.5, 0.25, 0.25))


def result(
    info: BagInfo | None = None, ious: tuple[float | None, ...] = (0.6, 0.7, 0.8, 0.9), latency: float = 20,
    confusion: ArrayLike = CONFUSION, coverage: Coverage | None = None, **fields: object,
) -> ReplayResult:
    """Return the result of a bag with one frame for each of `ious`."""
    frames = tuple(frame(number, iou, 0.01 if number else None) for number, iou in enumerate(ious))
    compared = sum(iou is not None for iou in ious)
    histogram = np.zeros(256, np.int64)
    histogram[[51, 255]] = 1, 3
    values: dict[str, Any] = {
        'bag': info or bag(),
        'coverage': coverage or Coverage(len(ious), len(ious), 0, compared, len(ious) - compared, 0),
        'frames': frames,
        'confusion': np.array(confusion, np.int64),
        'boundary_confusion': np.array(confusion, np.int64) // 10,
        'confusion_frames': {(0, 1): ((2, 12), (0, 8)), (1, 3): ((1, 5),)},
        'confidence_histogram': histogram,
        'worst': (), 'typical': (),
        'timing': {'latency_ms': [latency + number for number in range(len(ious))], 'seconds': len(ious) * latency / 1000},
    }
    return ReplayResult(**{**values, **fields})


def report_of(
    *results: ReplayResult, mode: Literal['offline', 'live'] = 'offline', failed: Sequence[tuple[str, EnetError]] = (),
    **configuration: object,
) -> dict[str, Any]:
    """Return the report of the results, or of one standard bag."""
    live = LIVE if mode == 'live' else None
    return build_report(results or (result(),), failed, MODEL, {**CONFIGURATION, **configuration}, mode, live)


def without_truth() -> ReplayResult:
    return result(bag(labels_topic=''), (None, None), confusion=np.zeros((3, 4)), confusion_frames={})

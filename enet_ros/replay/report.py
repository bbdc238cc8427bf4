"""The report of a replay: the results of all bags as one value that can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, one_line
from enet_ros.evaluation.boundary import BOUNDARY_DISTANCE
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.evaluation.metrics import class_iou, mean_iou
from enet_ros.machine import describe_machine
from enet_ros.network.model_file import ModelFile
from enet_ros.replay.confused_frames import LIMIT
from enet_ros.replay.distributions import mean_confidence
from enet_ros.replay.results import FrameResult, ReplayResult
from enet_ros.version import __version__

FORMAT = 1
"""Changes when a program that reads reports must change."""


def build_report(
    results: Sequence[ReplayResult], failed: Sequence[tuple[str, EnetError]], model: ModelFile,
    configuration: Mapping[str, Any], mode: Literal['offline', 'live'], live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report of the bags that were replayed, in this order, and of those that failed, by name.

    `configuration` and `live` (the figures that only live replay has) must be ready for JSON. The report has no verdict yet:
    see `verdict.judge`. Everything outside `timing` and `host` is the same for the same results.
    """
    labels = model.info.labels
    selected = sum(result.coverage.selected for result in results)
    frames = [frame for result in results for frame in result.frames]
    timing = _timing(results, selected, live)
    metrics = _metrics(results, frames, model)
    report: dict[str, Any] = {
        'format': FORMAT,
        'enet_ros': __version__,
        'mode': mode,
        'frames_in': selected,
        'frames_out': len(frames),
        'mean_iou': metrics['pooled'] and metrics['pooled']['mean_iou'],
    }
    if mode == 'live':
        report['fps'] = timing['fps']
        report['latency_ms'] = {name: timing['latency_ms'][name] for name in ('p50', 'p99')}
    return report | {
        'verdict': {'passed': None, 'criteria': []},
        'bags': [_bag(result) for result in results],
        'failed_bags': [{'name': name, 'error': one_line(error)} for name, error in failed],
        'complete': not failed and all(result.coverage.complete for result in results),
        'model': {
            'name': model.path.name, 'sha256': model.sha256, 'dataset': model.info.dataset,
            'classes': list(labels.names), 'colors': [list(color) for color in labels.colors],
        },
        'configuration': dict(configuration),
        'criteria': None,
        'comparison': None,
        'host': describe_machine(),
        'metrics': metrics,
        'frames': _columns(results, frames),
        'timing': timing,
    }


def _bag(result: ReplayResult) -> dict[str, Any]:
    coverage = asdict(result.coverage)
    lines = {name: list(coverage[name]) for name in ('problems', 'notes')}  # as JSON has it
    return asdict(result.bag) | {'mean_iou': _rounded(mean_iou(result.confusion)), 'coverage': coverage | lines}


def _metrics(results: Sequence[ReplayResult], frames: Sequence[FrameResult], model: ModelFile) -> dict[str, Any]:
    labels = model.info.labels
    shape = (len(labels), len(labels) + 1)
    confusion = _sum((result.confusion for result in results), shape)
    boundary = _sum((result.boundary_confusion for result in results), shape)
    compared = sum(result.coverage.with_truth for result in results)
    has_truth = bool(confusion.any())
    shares = np.array([frame.class_share for frame in frames]).reshape(-1, len(labels))
    return {
        'pooled': Evaluation(labels, compared, confusion).summary() if has_truth else None,
        'lowest_bag_mean_iou': _rounded(min(
            (value for result in results if (value := mean_iou(result.confusion)) is not None), default=None)),
        'mean_over_frames': {
            'mean_iou': _mean(frame.mean_iou for frame in frames), 'accuracy': _mean(frame.accuracy for frame in frames),
        },
        'boundary': {
            'distance': BOUNDARY_DISTANCE, 'mean_iou': _rounded(mean_iou(boundary)),
            'classes': dict(zip(labels.names, map(_rounded, class_iou(boundary).tolist()))),
        } if has_truth else None,
        'stability': {
            'flips': _mean(frame.flips for frame in frames), 'pairs': sum(frame.flips is not None for frame in frames),
        },
        'confidence': _confidence(results),
        'class_share': {name: _mean(shares[:, index].tolist()) for index, name in enumerate(labels.names)},
        'confusion': confusion.tolist() if has_truth else None,
        'confusion_frames': _confusion_frames(results),
    }


def _confidence(results: Sequence[ReplayResult]) -> dict[str, Any] | None:
    histogram = _sum((result.confidence_histogram for result in results if result.confidence_histogram is not None), (256,))
    mean = mean_confidence(histogram)
    return None if mean is None else {'mean': _rounded(mean), 'histogram': histogram.tolist()}


def _confusion_frames(results: Sequence[ReplayResult]) -> list[dict[str, Any]]:
    """Return the `LIMIT` frames with most pixels of each confusion, with indices over all bags."""
    found: dict[tuple[int, int], list[list[int]]] = {}
    first = 0
    for result in results:
        for pair, frames in result.confusion_frames.items():
            found.setdefault(pair, []).extend([first + frame, pixels] for frame, pixels in frames)
        first += len(result.frames)
    return [
        {'true': true, 'predicted': predicted,
         'frames': sorted(found[true, predicted], key=lambda entry: -entry[1])[:LIMIT]}
        for true, predicted in sorted(found)
    ]


def _columns(results: Sequence[ReplayResult], frames: Sequence[FrameResult]) -> dict[str, list[Any]]:
    return {
        'name': [frame.name for frame in frames],
        'bag': [index for index, result in enumerate(results) for _ in result.frames],
        'seconds': [_rounded(frame.seconds) for frame in frames],
        'mean_iou': [_rounded(frame.mean_iou) for frame in frames],
        'accuracy': [_rounded(frame.accuracy) for frame in frames],
        'flips': [_rounded(frame.flips) for frame in frames],
        'confidence': [_rounded(frame.confidence) for frame in frames],
        'class_share': [[_rounded(share) for share in frame.class_share] for frame in frames],
    }


def _timing(results: Sequence[ReplayResult], selected: int, live: Mapping[str, Any] | None) -> dict[str, Any]:
    latencies = [value for result in results for value in result.timing['latency_ms']]
    known = [value for value in latencies if value is not None]
    seconds = sum(result.timing['seconds'] for result in results)
    percentiles = np.percentile(known, (50, 90, 99)).tolist() if known else (None, None, None)
    summary = {
        **dict(zip(('p50', 'p90', 'p99'), percentiles)),
        'max': max(known, default=None),
        'mean': sum(known) / len(known) if known else None,
    }
    return {
        'latency_ms': {name: _rounded(value, 3) for name, value in summary.items()},
        'fps': _rounded(len(latencies) / seconds, 3) if seconds else None,
        'dropped': _rounded(1 - len(latencies) / selected) if selected else None,
        'frames_ms': [_rounded(value, 3) for value in latencies],
        'bags': [
            {**{name: value for name, value in result.timing.items() if name != 'latency_ms'},
             'seconds': _rounded(result.timing['seconds'], 3)}
            for result in results
        ],
        'live': dict(live) if live is not None else None,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


def _sum(parts: Iterable[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    total = np.zeros(shape, np.int64)
    for part in parts:
        total += part
    return total


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(math.fsum(known) / len(known)) if known else None


def _rounded(value: float | None, digits: int = 6) -> float | None:
    """Return a number of a report; NaN, which JSON does not have, becomes None."""
    return None if value is None or math.isnan(value) else round(float(value), digits)

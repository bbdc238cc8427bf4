"""The key figures of a report beside those of another one, and in plain words what a report does not cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]

_KEY_FIGURES: tuple[tuple[str, str, tuple[str, ...], str, bool], ...] = (
    ('mean IoU', 'over all pixels', ('metrics', 'pooled', 'mean_iou'), '', True),
    ('class average', 'accuracy, over all pixels', ('metrics', 'pooled', 'class_average'), '', True),
    ('global accuracy', 'over all pixels', ('metrics', 'pooled', 'global_accuracy'), '', True),
    ('mean IoU of frames', 'mean over the frames', ('metrics', 'mean_over_frames', 'mean_iou'), '', True),
    ('accuracy of frames', 'mean over the frames', ('metrics', 'mean_over_frames', 'accuracy'), '', True),
    ('boundary mean IoU', 'pixels near boundaries of classes', ('metrics', 'boundary', 'mean_iou'), '', True),
    ('label flips', 'between consecutive frames', ('metrics', 'stability', 'flips'), '', False),
    ('confidence', 'mean over all pixels', ('metrics', 'confidence', 'mean'), '', True),
    ('throughput', 'frames per second', ('timing', 'fps'), 'fps', True),
    ('latency p50', 'half of the frames', ('timing', 'latency_ms', 'p50'), 'ms', False),
    ('latency p90', '90 % of the frames', ('timing', 'latency_ms', 'p90'), 'ms', False),
    ('latency p99', '99 % of the frames', ('timing', 'latency_ms', 'p99'), 'ms', False),
    ('latency max', 'slowest frame', ('timing', 'latency_ms', 'max'), 'ms', False),
    ('jitter', 'of the latency', ('timing', 'live', 'jitter_ms'), 'ms', False),
)


@dataclass(frozen=True)
class KeyFigure:
    """One figure of a report, and the same of another report, if there is one that has it."""

    name: str
    description: str
    unit: str
    value: float
    other: float | None
    higher_is_better: bool

    @property
    def change(self) -> float | None:
        """Return by how much the figure is larger than that of the other report."""
        return None if self.other is None else self.value - self.other

    @property
    def verdict(self) -> str:
        """Return `better`, `worse` or `same`."""
        if not self.change:
            return 'same'
        return 'better' if (self.change > 0) == self.higher_is_better else 'worse'


def key_figures(report: Report, other: Report | None) -> list[KeyFigure]:
    """Return the figures that `report` has."""
    figures = []
    for name, description, keys, unit, higher in _KEY_FIGURES:
        if (value := look_up(report, *keys)) is not None:
            figures.append(KeyFigure(name, description, unit, value, look_up(other or {}, *keys), higher))
    return figures


def look_up(report: Report, *keys: str) -> Any:  # noqa: ANN401 - JSON
    """Return a value by its path in a report; None if the report does not have it."""
    value: Any = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def notes(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the figures do not cover: `problem` or `note`, and a sentence."""
    for bag in report['failed_bags']:
        yield 'problem', f'{bag["name"]} was not evaluated: {bag["error"]}'
    for bag in report['bags']:
        for problem in bag['coverage']['problems']:
            yield 'problem', f'{bag["name"]}: {problem}'
    for entry in ignored_ranges(report):
        yield 'note', (f'{entry.get("start", 0):g} s to {entry["end"]:g} s of {entry.get("bag") or "every bag"} do not count'
                       if entry.get('end') is not None else
                       f'Everything from {entry.get("start", 0):g} s of {entry.get("bag") or "every bag"} does not count'
                       ) + (f': {entry["reason"]}' if entry.get('reason') else '')
    yield from _missing_truth(report)
    if look_up(report, 'metrics', 'confidence') is None:
        yield 'note', 'There is no confidence: the engine did not compute it.'
    if not look_up(report, 'metrics', 'stability', 'pairs'):
        yield 'note', 'There are no label flips: no two consecutive frames could be compared.'
    if not latencies(report):
        yield 'note', 'There is no latency: no frame was timed.'


def ignored_ranges(report: Report) -> list[dict[str, Any]]:
    """Return the ranges of time that the criteria exclude."""
    return list(look_up(report, 'criteria', 'ignore') or ())


def latencies(report: Report) -> list[float]:
    """Return the latencies in ms of the frames that have one."""
    return [value for value in look_up(report, 'timing', 'frames_ms') or () if value is not None]


def _missing_truth(report: Report) -> Iterator[tuple[str, str]]:
    if report['metrics']['pooled'] is None:
        yield 'note', 'There is no ground truth: IoU, accuracy and the confusion matrix cannot be computed. Use --labels-topic.'
        return
    for bag in report['bags']:
        covered = bag['coverage']
        if not bag['labels_topic']:
            yield 'note', f'{bag["name"]} has no ground truth: IoU and accuracy are those of the other bags.'
        elif missing := covered['segmented'] - covered['with_truth']:
            yield 'note', (f'{bag["name"]}: {missing:,} of {covered["segmented"]:,} segmented frames have no usable ground truth; '
                           f'IoU and accuracy cover the other {covered["with_truth"]:,}.')

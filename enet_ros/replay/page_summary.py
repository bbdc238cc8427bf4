"""The key figures of a report, and in plain words what the figures do not cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from enet_ros.replay.scalars import SCALARS, Scalar

Report = Mapping[str, Any]
"""The content of report.json."""


@dataclass(frozen=True)
class KeyFigure:
    """A figure of a report with its change against another report."""

    scalar: Scalar
    value: float
    change: float | None
    """By how much it is larger than in the other report; None if there is none, or if it lacks the figure."""

    @property
    def verdict(self) -> str:
        """Return `better`, `worse` or `same`."""
        return change_verdict(self.change, self.scalar.better)


def change_verdict(change: float | None, better: str) -> str:
    """Return whether a change is `better`, `worse` or the `same` for a figure of which `higher` or `lower` is better."""
    if not change:
        return 'same'
    return 'better' if (change > 0) == (better == 'higher') else 'worse'


def changes(report: Report) -> dict[str, float | None]:
    """Return the changes of figures against the report of `--compare`, by the name of the figure."""
    return {entry['figure']: entry['change'] for entry in (report['comparison'] or {'changes': []})['changes']}


def key_figures(report: Report) -> list[KeyFigure]:
    """Return the figures that `report` has, without those of single classes."""
    changed = changes(report)
    found = ((scalar, scalar.value(report)) for scalar in SCALARS)
    return [KeyFigure(scalar, value, changed.get(scalar.name)) for scalar, value in found if value is not None]


def latencies(report: Report) -> list[float]:
    """Return the latencies in ms of the frames that have one."""
    return [value for value in report['timing']['frames_ms'] if value is not None]


def seen_images(report: Report) -> str:
    """Return a warning if the model is known to have been trained on images of the report, else an empty text."""
    seen = report['configuration'].get('trained_on', ())
    return f'The model was trained on images of {", ".join(seen)}: its accuracy on new images is lower.' if seen else ''


def notes(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the figures do not cover: `problem` or `note`, and a sentence."""
    for bag in report['failed_bags']:
        yield 'problem', f'{bag["name"]} was not evaluated: {bag["error"]}'
    for bag in report['bags']:
        for kind in ('problem', 'note'):
            yield from ((kind, f'{bag["name"]}: {line}') for line in bag['coverage'][f'{kind}s'])
    for note in (report['comparison'] or {'notes': []})['notes']:
        yield 'note', f'Comparison: {note}'
    yield from ignored_ranges(report)
    yield from _missing_truth(report)
    metrics = report['metrics']
    if metrics['confidence'] is None:
        yield 'note', 'There is no confidence: the engine did not compute it.'
    if not metrics['stability']['pairs']:
        yield 'note', 'There are no label flips: no two frames in sequence could be compared.'
    if not latencies(report):
        yield 'note', 'There is no latency: no frame was timed.'


def ignored_ranges(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the ranges of time that the criteria file excludes: a `note`, or a `problem` if its bag was not replayed."""
    file = (report['criteria'] or {}).get('file') or {}
    names = {bag['name'] for bag in (*report['bags'], *report['failed_bags'])}
    for entry in file.get('ignore', ()):
        bag, times = entry.get('bag'), f'from {entry["start"]:g} s to {entry["end"]:g} s'
        if bag not in (None, *names):
            yield 'problem', f'The criteria file ignores {bag} {times}, but no bag has this name: check its spelling.'
            continue
        reason = f': {entry["reason"]}' if entry.get('reason') else ''
        yield 'note', f'Frames of {bag or "every bag"} {times} do not count{reason}'


def _missing_truth(report: Report) -> Iterator[tuple[str, str]]:
    if report['metrics']['pooled'] is None:
        named = any(bag['labels_topic'] for bag in report['bags'])
        yield 'note', ('There is no ground truth, so there are no IoU, no accuracy and no confusion matrix. ' + (
            'The topic with labels has none for these frames, or only void pixels.' if named else
            'Name a topic with labels in --labels-topic.'))
        return
    for bag in report['bags']:
        covered = bag['coverage']
        if not bag['labels_topic']:
            yield 'note', f'{bag["name"]} has no ground truth: IoU and accuracy are those of the other bags.'
        elif missing := covered['segmented'] - covered['with_truth']:
            yield 'note', (f'{bag["name"]}: {missing:,} of {covered["segmented"]:,} segmented frames have no usable ground '
                           f'truth. IoU and accuracy cover the other {covered["with_truth"]:,}.')

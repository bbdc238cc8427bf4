"""The figures of a report that can have a limit: one table for gates, comparisons and the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from enet_ros.errors import UsageError, quoted

CLASS = '<class>'
"""Stands for the name of a class in `Scalar.name` and `Scalar.path`."""
FRACTION = '0 to 1'
_NO_TRUTH = 'no pixel was compared with ground truth'
_NO_PAIRS = 'no two frames in sequence could be compared'
_NO_CONFIDENCE = 'the confidence was not computed'
_NO_LATENCY = 'no latency was measured'
_ACCURACY_LOSS = 0.005


@dataclass(frozen=True)
class Scalar:
    """One figure of a report."""

    name: str
    path: tuple[str, ...]
    """Keys that lead to it in the report."""
    better: Literal['higher', 'lower']
    unit: str
    """`FRACTION`, ms, frames or frames/s."""
    description: str
    missing: str
    """Why a report can lack it."""
    tolerance: float | None = None
    """Change for the worse that `--compare` accepts if `--allow` does not name the figure; None = any."""
    class_name: str = ''
    """The class that it belongs to."""

    def value(self, report: Mapping[str, Any]) -> float | None:
        """Return the figure of a report; None if the report lacks it."""
        place: Any = report
        for key in self.path:
            place = place.get(key) if isinstance(place, Mapping) else None
        return place

    def absence(self, report: Mapping[str, Any]) -> str:
        """Return why a report has no such figure, empty if it has.

        The IoU of a class that is predicted but not in the ground truth is 0 and says nothing: it counts as absent.
        """
        pooled = report['metrics']['pooled']
        if not pooled and self.path[:2] == ('metrics', 'boundary'):
            return _NO_TRUTH
        if self.class_name and pooled and pooled['classes'][self.class_name]['accuracy'] is None:
            return f'the ground truth has no {self.class_name}'
        return self.missing if self.value(report) is None else ''


SCALARS = (
    Scalar('mean_iou', ('metrics', 'pooled', 'mean_iou'), 'higher', FRACTION,
           'mean IoU over the classes, pooled over all pixels', _NO_TRUTH, _ACCURACY_LOSS),
    Scalar('class_average', ('metrics', 'pooled', 'class_average'), 'higher', FRACTION,
           'mean accuracy over the classes, pooled over all pixels', _NO_TRUTH, _ACCURACY_LOSS),
    Scalar('global_accuracy', ('metrics', 'pooled', 'global_accuracy'), 'higher', FRACTION,
           'share of correct pixels', _NO_TRUTH, _ACCURACY_LOSS),
    Scalar('bag_mean_iou', ('metrics', 'lowest_bag_mean_iou'), 'higher', FRACTION,
           'lowest mean IoU of a bag, pooled over its pixels', _NO_TRUTH),
    Scalar(f'iou.{CLASS}', ('metrics', 'pooled', 'classes', CLASS, 'iou'), 'higher', FRACTION,
           'IoU of a class, pooled over all pixels', _NO_TRUTH),
    Scalar(f'accuracy.{CLASS}', ('metrics', 'pooled', 'classes', CLASS, 'accuracy'), 'higher', FRACTION,
           'accuracy of a class, pooled over all pixels', _NO_TRUTH),
    Scalar('frame_mean_iou', ('metrics', 'mean_over_frames', 'mean_iou'), 'higher', FRACTION,
           'mean over the frames of their mean IoU', _NO_TRUTH, _ACCURACY_LOSS),
    Scalar('frame_accuracy', ('metrics', 'mean_over_frames', 'accuracy'), 'higher', FRACTION,
           'mean over the frames of their share of correct pixels', _NO_TRUTH, _ACCURACY_LOSS),
    Scalar('boundary_mean_iou', ('metrics', 'boundary', 'mean_iou'), 'higher', FRACTION,
           'mean IoU of the pixels near boundaries of classes', 'the ground truth has no boundaries', _ACCURACY_LOSS),
    Scalar(f'boundary_iou.{CLASS}', ('metrics', 'boundary', 'classes', CLASS), 'higher', FRACTION,
           'IoU of a class in the pixels near boundaries of classes', 'the ground truth has none near a boundary'),
    Scalar('flips', ('metrics', 'stability', 'flips'), 'lower', FRACTION,
           'mean share of pixels whose label changes from frame to frame', _NO_PAIRS),
    Scalar('confidence', ('metrics', 'confidence', 'mean'), 'higher', FRACTION,
           'mean probability of the chosen class over all pixels', _NO_CONFIDENCE),
    Scalar('frames', ('frames_out',), 'higher', 'frames', 'frames with labels', 'frames were not counted', 0),
    Scalar('truth_frames', ('metrics', 'pooled', 'images'), 'higher', 'frames',
           'frames that were compared with ground truth', _NO_TRUTH, 0),
    Scalar('fps', ('timing', 'fps'), 'higher', 'frames/s', 'frames with labels per second', 'no frame was segmented'),
    Scalar('p50_ms', ('timing', 'latency_ms', 'p50'), 'lower', 'ms', 'median latency', _NO_LATENCY),
    Scalar('p90_ms', ('timing', 'latency_ms', 'p90'), 'lower', 'ms', '90th percentile of the latency', _NO_LATENCY),
    Scalar('p99_ms', ('timing', 'latency_ms', 'p99'), 'lower', 'ms', '99th percentile of the latency', _NO_LATENCY),
    Scalar('max_ms', ('timing', 'latency_ms', 'max'), 'lower', 'ms', 'highest latency', _NO_LATENCY),
    Scalar('dropped', ('timing', 'dropped'), 'lower', FRACTION, 'share of the selected frames without labels',
           'no frame was selected'),
    Scalar('jitter_ms', ('timing', 'live', 'jitter_ms'), 'lower', 'ms', 'jitter of the latency, of live replay',
           'only --mode live measures it'),
)
"""All figures of a report, in the order in which they are listed."""

FRAME_SCALARS = (
    Scalar('mean_iou', ('frames', 'mean_iou'), 'higher', FRACTION, 'mean IoU of the classes in the frame', _NO_TRUTH),
    Scalar('accuracy', ('frames', 'accuracy'), 'higher', FRACTION, 'share of correct pixels', _NO_TRUTH),
    Scalar('flips', ('frames', 'flips'), 'lower', FRACTION,
           'share of pixels whose label changed since the frame before', _NO_PAIRS),
    Scalar('confidence', ('frames', 'confidence'), 'higher', FRACTION, 'mean probability of the chosen class',
           _NO_CONFIDENCE),
    Scalar('latency_ms', ('timing', 'frames_ms'), 'lower', 'ms', 'latency', _NO_LATENCY),
)
"""The figures of each single frame."""


def scalars(classes: Sequence[str]) -> dict[str, Scalar]:
    """Return all figures by name, with one of each kind for each class of a model."""
    table = {}
    for scalar in SCALARS:
        for name in classes if CLASS in scalar.path else ('',):
            path = tuple(name if key == CLASS else key for key in scalar.path)
            one = replace(scalar, name=scalar.name.replace(CLASS, name), path=path, class_name=name)
            table[one.name] = one
    return table


def frame_scalars() -> dict[str, Scalar]:
    """Return the figures of single frames by name."""
    return {scalar.name: scalar for scalar in FRAME_SCALARS}


def find_scalar(table: Mapping[str, Scalar], name: object) -> Scalar:
    """Return the figure of this name.

    Raises:
        UsageError: there is none. The text has the names that are most alike.

    """
    if isinstance(name, str) and name in table:
        return table[name]
    text = str(name)
    kind, dot, class_name = text.partition('.')
    classes = [scalar.class_name for scalar in table.values() if dot and scalar.name.startswith(f'{kind}.')]
    if classes:
        close = [f'{kind}.{other}' for other in get_close_matches(class_name, classes)]
        remedy = f'did you mean {" or ".join(close)}?' if close else f'its classes are {", ".join(classes)}'
        raise UsageError(f'{quoted(text)}: the model has no class {quoted(class_name)}: {remedy}')
    kinds = [scalar.name for scalar in table.values() if not scalar.class_name]
    kinds += sorted({f'{scalar.name.partition(".")[0]}.CLASS' for scalar in table.values() if scalar.class_name})
    close = get_close_matches(text, kinds)
    remedy = f'did you mean {" or ".join(close)}?' if close else f'use {", ".join(kinds)}'
    raise UsageError(f'there is no figure {quoted(text)}: {remedy}')


def check_value(scalar: Scalar, value: object) -> float:
    """Return a limit of a figure as a number.

    Raises:
        UsageError: it is not a finite number of at least 0, or it is above 1 for a fraction.

    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float('inf'):
        raise UsageError(f'the limit of {scalar.name} is {quoted(str(value))}: must be a number of at least 0')
    if scalar.unit == FRACTION and value > 1:
        raise UsageError(f'the limit of {scalar.name} is {value}: must be a fraction from 0 to 1, such as 0.6 for 60 %')
    return value


def shown(value: float) -> str:
    """Return a figure as text, with up to nine digits."""
    return f'{value:.9g}'

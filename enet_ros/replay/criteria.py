"""Limits that a report must keep: `--fail-under` and the criteria file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from enet_ros.datasets.parsing import parsing, read_yaml
from enet_ros.errors import UsageError, quoted
from enet_ros.replay.scalars import Scalar, check_value, find_scalar, frame_scalars, scalars, shown

_REMEDY = 'docs/replay.md describes the file'
_WORDS = {'min': 'at least', 'max': 'at most'}


@dataclass(frozen=True)
class Criterion:
    """One thing that a report was checked for."""

    criterion: str
    """What is required."""
    source: Literal['fail_under', 'criteria', 'compare', 'always']
    value: float | None
    """The figure of the report; None if it has none."""
    limit: float | None
    passed: bool
    reason: str
    """Why it failed; empty if it passed."""


@dataclass(frozen=True)
class Limit:
    """The smallest or largest value of a figure that passes."""

    scalar: Scalar
    bound: Literal['min', 'max']
    value: float
    source: Literal['fail_under', 'criteria']

    def keeps(self, value: float) -> bool:
        """Return whether a value passes. The limit itself does."""
        return value >= self.value if self.bound == 'min' else value <= self.value

    def check(self, report: Mapping[str, Any]) -> Criterion:
        """Check the figure of a report. One that the report lacks does not pass."""
        name, value = self.scalar.name, self.scalar.value(report)
        must = f'must be {_WORDS[self.bound]} {shown(self.value)}'
        if absence := self.scalar.absence(report):
            return Criterion(f'{name} {must}', self.source, None, self.value, False, f'{name} is missing: {absence}')
        assert value is not None
        passed = self.keeps(value)
        reason = '' if passed else f'{name} is {shown(value)}: {must}'
        return Criterion(f'{name} {must}', self.source, value, self.value, passed, reason)


@dataclass(frozen=True)
class FrameShare:
    """The share of the frames that must keep a limit. Frames without the figure do not count."""

    limit: Limit
    share: float

    def check(self, report: Mapping[str, Any]) -> Criterion:
        """Check the frames of a report. If none has the figure, this does not pass."""
        scalar, share = self.limit.scalar, self.share
        level = f'{scalar.name} {_WORDS[self.limit.bound]} {shown(self.limit.value)}'
        must = f'{shown(100 * share)} % of the frames must have {level}'
        column: Any = scalar.value(report)
        values = [value for value in column if value is not None]
        if not values:
            return Criterion(must, 'criteria', None, share, False, f'no frame has {scalar.name}: {scalar.missing}')
        kept = sum(map(self.limit.keeps, values))
        passed = kept / len(values) >= share
        reason = f'{kept} of {len(values)} frames have {level}: must be {shown(100 * share)} %'
        return Criterion(must, 'criteria', round(kept / len(values), 6), share, passed, '' if passed else reason)


@dataclass(frozen=True)
class IgnoredRange:
    """A range of time that counts for nothing."""

    start: float
    """Seconds since the first image of the bag."""
    end: float
    """Exclusive."""
    bag: str | None
    """Name of the bag; None = all bags."""


@dataclass(frozen=True)
class Criteria:
    """The content of a criteria file."""

    checks: tuple[Limit | FrameShare, ...]
    ignored: tuple[IgnoredRange, ...]
    content: dict[str, Any]
    """As it was read; goes into the report."""

    def ignored_in(self, bag: str) -> tuple[tuple[float, float], ...]:
        """Return the ignored ranges of a bag as start and end, exclusive, in seconds since its first image."""
        return tuple((part.start, part.end) for part in self.ignored if part.bag in (None, bag))


def parse_fail_under(text: str, classes: Sequence[str]) -> tuple[Limit, ...]:
    """Read the limits of `--fail-under`, such as mean_iou=0.60,p99_ms=80, for a model with `classes`.

    A limit is the smallest value of a figure of which more is better, and the largest of any other.

    Raises:
        UsageError: a figure is unknown or named twice, or a value is not a number or is out of range.

    """
    limits = []
    for scalar, value in assignments('--fail-under', text, classes, 'mean_iou=0.60').items():
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f'--fail-under: {scalar.name} is {quoted(value)}: must be a number') from None
        bound: Literal['min', 'max'] = 'min' if scalar.better == 'higher' else 'max'
        limits.append(Limit(scalar, bound, check_value(scalar, number), 'fail_under'))
    return tuple(limits)


def assignments(option: str, text: str, classes: Sequence[str], example: str) -> dict[Scalar, str]:
    """Return the values in a list of NAME=VALUE, separated by commas, by figure.

    Raises:
        UsageError: a figure is unknown or named twice, or an entry is not NAME=VALUE.

    """
    table, found = scalars(classes), {}
    for entry in text.split(','):
        name, equals, value = (part.strip() for part in entry.rpartition('='))
        if not equals or not name or not value:
            raise UsageError(f'{option}: {quoted(entry.strip())} is not NAME=VALUE: write it like {example}')
        try:
            scalar = find_scalar(table, name)
        except UsageError as error:
            raise UsageError(f'{option}: {error}') from None
        if scalar in found:
            raise UsageError(f'{option} has {name} twice: name each figure once')
        found[scalar] = value
    return found


def read_criteria(path: Path, classes: Sequence[str]) -> Criteria:
    """Read a criteria file for a model with `classes`.

    Raises:
        EnetError: the file cannot be read, a key or figure is unknown, or a value has the wrong type or is out of range.

    """
    content = read_yaml(path, _REMEDY)
    with parsing(path, _REMEDY):
        _check_keys('the file', content, {'metrics', 'frames', 'ignore'})
        metrics, frames, ignore = content.get('metrics', {}), content.get('frames', []), content.get('ignore', [])
        if not isinstance(metrics, dict):
            raise ValueError('metrics must map figures to limits, such as mean_iou: {min: 0.60}')
        for name, entries in (('frames', frames), ('ignore', ignore)):
            if not isinstance(entries, list):
                raise ValueError(f'{name} must be a list: start each entry with "- "')
        table = scalars(classes)
        checks: list[Limit | FrameShare] = []
        for name, bounds in metrics.items():
            scalar = find_scalar(table, name)
            _check_keys(scalar.name, bounds, {'min', 'max'})
            checks += _limits(scalar, bounds)
        checks += [_frame_share(entry) for entry in frames]
        return Criteria(tuple(checks), tuple(map(_ignored_range, ignore)), content)


def _limits(scalar: Scalar, bounds: Mapping[str, Any]) -> list[Limit]:
    names: tuple[Literal['min', 'max'], ...] = ('min', 'max')
    limits = [Limit(scalar, name, check_value(scalar, bounds[name]), 'criteria') for name in names if name in bounds]
    if not limits:
        raise ValueError(f'{scalar.name} has no limit: use min or max')
    if limits[0].value > limits[-1].value:
        raise ValueError(f'{scalar.name} has min {limits[0].value} above max {limits[-1].value}: no value can pass')
    return limits


def _frame_share(entry: Any) -> FrameShare:  # noqa: ANN401 - YAML
    _check_keys('an entry of frames', entry, {'metric', 'min', 'max', 'share'})
    scalar = find_scalar(frame_scalars(), entry['metric'])
    limits, share = _limits(scalar, entry), entry['share']
    if len(limits) > 1:
        raise ValueError(f'{scalar.name} has min and max in one entry of frames: use two entries')
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(f'share is {quoted(str(share))}: must be a fraction above 0, at most 1')
    return FrameShare(limits[0], share)


def _ignored_range(entry: Any) -> IgnoredRange:  # noqa: ANN401 - YAML
    _check_keys('an entry of ignore', entry, {'start', 'end', 'bag', 'reason'})
    start, end = entry['start'], entry['end']
    for value in (start, end):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f'a time is {quoted(str(value))}: must be seconds since the first image of the bag')
    if not 0 <= start < end < float('inf'):
        raise ValueError(f'an ignored range goes from {start} to {end}: must have 0 <= start < end, '
                         'and a finite end')
    for key in ('bag', 'reason'):
        if not isinstance(entry.get(key, ''), str):
            raise ValueError(f'{key} is {quoted(str(entry[key]))}: must be text')
    return IgnoredRange(start, end, entry.get('bag'))


def _check_keys(where: str, fields: object, allowed: set[str]) -> None:
    if not isinstance(fields, dict):
        raise ValueError(f'{where} is {quoted(str(fields))}: must have keys with values')
    if unknown := sorted(str(key) for key in fields.keys() - allowed):
        raise ValueError(f'{where} has the unknown key {quoted(unknown[0])}: use {", ".join(sorted(allowed))}')

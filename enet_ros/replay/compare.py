"""Compare a report with another one, such as that of the last release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enet_ros.errors import EnetError, UsageError, quoted
from enet_ros.replay.criteria import Criterion, assignments
from enet_ros.replay.scalars import Scalar, scalars, shown

SELECTION = ('classes', 'tolerance', 'start', 'duration', 'every', 'max_frames', 'rate', 'class_map', 'ignore')
"""Keys of the configuration that decide what is measured. The others may differ: their effect is what a comparison shows."""
_EPSILON = 1e-9
_MACHINE = ('CPU', 'Jetson', 'GPU')


@dataclass(frozen=True)
class Allowance:
    """The change for the worse that a figure may have."""

    scalar: Scalar
    change: float
    """At least 0; a share of the former value if `relative`, so that a value of 0 must not change for the worse."""
    relative: bool = False

    def limit(self, before: float) -> float:
        """Return the worst value that passes."""
        change = self.change * before if self.relative else self.change
        return before - change if self.scalar.better == 'higher' else before + change

    def accepts(self, before: float, after: float) -> bool:
        """Return whether a change passes. The allowed one does, also where 0.9 - 0.3 is not exactly 0.6."""
        limit = self.limit(before)
        return after >= limit - _EPSILON if self.scalar.better == 'higher' else after <= limit + _EPSILON

    def __str__(self) -> str:
        """Return the change as it is written in `--allow`."""
        if not self.change:
            return '0'
        sign = '-' if self.scalar.better == 'higher' else '+'
        return f'{sign}{shown(100 * self.change)}%' if self.relative else f'{sign}{shown(self.change)}'


@dataclass(frozen=True)
class Comparison:
    """How a report differs from another one."""

    other: dict[str, Any]
    """Which report it was compared with."""
    allowed: dict[str, str]
    """The gated figures with the change that they may have."""
    changes: list[dict[str, Any]]
    """For each figure that one of the reports has: before, after, absolute and relative change. A change from 0 has no
    relative one."""
    notes: list[str]
    """What to know when reading the changes."""
    criteria: list[Criterion]

    def content(self) -> dict[str, Any]:
        """Return what the report keeps of it."""
        return {'other': self.other, 'changes': self.changes, 'notes': self.notes}


def parse_allow(text: str, classes: Sequence[str]) -> tuple[Allowance, ...]:
    """Read the changes of `--allow`, such as mean_iou=-0.01,p99_ms=+10%, for a model with `classes`.

    Raises:
        UsageError: a figure is unknown or named twice, or a change is not a number or is a change for the better.

    """
    allowances = []
    for scalar, value in assignments('--allow', text, classes, 'mean_iou=-0.01 or p99_ms=+10%').items():
        relative = value.endswith('%')
        try:
            change = float(value.removesuffix('%')) / (100 if relative else 1)
        except ValueError:
            change = float('nan')
        worse = -change if scalar.better == 'higher' else change
        if not abs(change) < float('inf'):
            raise UsageError(f'--allow: the change of {scalar.name} is {quoted(value)}: must be a number or a percentage')
        if worse < 0:
            example = Allowance(scalar, -worse, relative)
            raise UsageError(f'--allow: the change of {scalar.name} is {value}, but {scalar.better} is better: '
                             f'use {example} to allow a change for the worse')
        allowances.append(Allowance(scalar, abs(change), relative))
    return tuple(allowances)


def check_comparable(report: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Check that two reports measured the same thing. Of `report`, only mode, model, configuration and bags are needed.

    Versions of the package, models with the same classes, engines and network sizes may differ.

    Raises:
        EnetError: they did not. The text names all that differs.

    """
    found = []
    if report['mode'] != other['mode']:
        found.append(f'mode is {report["mode"]} here and {other["mode"]} there')
    here, there = (tuple(one['model']['classes']) for one in (report, other))
    if set(here) != set(there):
        found += [f'classes only {place}: {", ".join(sorted(names))}'
                  for place, names in (('here', set(here) - set(there)), ('there', set(there) - set(here))) if names]
    elif here != there:
        found.append('the order of the classes differs')
    for key in SELECTION:
        # as JSON, which has no tuples and no numbers as keys: `other` was read from a file
        one, two = (json.loads(json.dumps(made['configuration'].get(key))) for made in (report, other))
        if one != two:
            found.append(f'{key} is {one} here and {two} there')
    found += _different_bags(report['bags'], other['bags'])
    if found:
        raise EnetError(f'cannot compare with the other report: {"; ".join(found)}. '
                        'Compare reports of the same bags, classes, selection and mode')


def _different_bags(bags: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[str]:
    here, there = ({bag['sha256']: bag for bag in listed} for listed in (bags, others))
    names = {bag['name'] for bag in here.values()} & {bag['name'] for bag in there.values()}
    found = []
    for place, own, rest in (('here', here, there), ('there', there, here)):
        for digest in own.keys() - rest.keys():
            bag = own[digest]['name']
            found.append(f'bag {bag} has another content' if bag in names else f'bag {bag} is only {place}')
    for digest in here.keys() & there.keys():
        for topic in ('image_topic', 'labels_topic'):
            one, two = here[digest][topic], there[digest][topic]
            if one != two:
                found.append(f'{topic} of bag {here[digest]["name"]} is {one or "none"} here and {two or "none"} there')
    if not found and len(bags) != len(others):  # copies of a bag count as often as they are there
        found.append(f'{len(bags)} bags are here and {len(others)} there')
    return sorted(set(found))


def compare(report: Mapping[str, Any], other: Mapping[str, Any], allowances: Sequence[Allowance] = ()) -> Comparison:
    """Return how a report differs from `other`, and whether it is worse by more than `allowances` and the defaults allow.

    If the reports cannot be compared after all, because a bag failed, that is a criterion that did not pass.
    """
    table = scalars(report['model']['classes'])
    allowed = {allowance.scalar.name: allowance for allowance in allowances}
    # without --allow: what the other report has
    for name, scalar in table.items():
        gated = scalar.tolerance is not None and not (name in ('frames', 'truth_frames') and report['mode'] == 'live')
        if gated and not scalar.absence(other):
            allowed.setdefault(name, Allowance(scalar, scalar.tolerance or 0))
    identity = {'enet_ros': other['enet_ros'], 'model': other['model']['name'], 'sha256': other['model']['sha256'],
                'date': other['timing']['date']}
    texts = {name: str(allowance) for name, allowance in allowed.items()}
    try:
        check_comparable(report, other)
    except EnetError as error:
        failure = Criterion('the reports must be comparable', 'compare', None, None, False, str(error))
        return Comparison(identity, texts, [], [], [failure])
    machine = _other_machine(report, other)
    return Comparison(identity, texts, _changes(table, report, other), _notes(report, other, machine),
                      [_check(allowance, report, other, machine) for allowance in allowed.values()])


def _changes(table: Mapping[str, Scalar], report: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = []
    for name, scalar in table.items():
        before, after = scalar.value(other), scalar.value(report)
        if before is None and after is None:
            continue
        change = None if before is None or after is None else round(after - before, 9)
        relative = round(change / before, 6) if change is not None and before else None
        changes.append({'figure': name, 'unit': scalar.unit, 'better': scalar.better, 'before': before, 'after': after,
                        'change': change, 'relative': relative})
    return changes


def _check(allowance: Allowance, report: Mapping[str, Any], other: Mapping[str, Any], machine: str) -> Criterion:
    scalar = allowance.scalar
    name, before, after = scalar.name, scalar.value(other), scalar.value(report)
    must = f'the change of {name} must not be worse than {allowance}'
    for one, place in ((other, 'the other report'), (report, 'this report')):
        if absence := scalar.absence(one):
            return Criterion(must, 'compare', after, None, False, f'{name} is missing in {place}: {absence}')
    assert before is not None and after is not None
    limit, passed = round(allowance.limit(before), 9), allowance.accepts(before, after)
    bound = 'least' if scalar.better == 'higher' else 'most'
    reason = f'{name} is {shown(after)}, was {shown(before)}: must be at {bound} {shown(limit)}'
    reason += f' (allowed change: {allowance})'
    if machine and scalar.path[0] == 'timing':
        reason += f'; {machine}'
    return Criterion(must, 'compare', after, limit, passed, '' if passed else reason)


def _notes(report: Mapping[str, Any], other: Mapping[str, Any], machine: str) -> list[str]:
    notes = [f'latencies cannot be compared: {machine}'] if machine else []
    for place, one in (('this report', report), ('the other report', other)):
        if not one['complete']:
            notes.append(f'{place} does not cover all of its input')
    here, there = ((one['metrics']['pooled'] or {'images': 0})['images'] for one in (report, other))
    if here != there:
        notes.append(f'{here} frames were compared with ground truth here and {there} there')
    return notes


def _other_machine(report: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return how the machines differ that the reports were made on; empty if they do not."""
    return '; '.join(
        f'{key} is {one or "none"} here and {two or "none"} there' for key in _MACHINE
        if (one := report['host'].get(key)) != (two := other['host'].get(key))
    )

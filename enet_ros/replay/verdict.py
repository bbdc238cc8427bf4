"""Judge a report: whether it passed, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from enet_ros.exit_codes import ExitCode
from enet_ros.replay.compare import Comparison
from enet_ros.replay.criteria import Criteria, Criterion, Limit


def judge(
    report: dict[str, Any], limits: Sequence[Limit] = (), criteria: Criteria | None = None,
    comparison: Comparison | None = None,
) -> None:
    """Check a report and write the verdict, with what was asked for, into it.

    `limits` are those of `--fail-under`. Without any gate, a report with frames has the verdict None; one without frames
    never passes.
    """
    checked = [check.check(report) for check in (*limits, *(criteria.checks if criteria else ()))]
    checked += comparison.criteria if comparison else []
    if not report['frames_out']:
        reason = 'no frame has labels: the replay measured nothing'
        checked.insert(0, Criterion('at least one frame must have labels', 'always', 0, 1, False, reason))
    report['verdict'] = {
        'passed': all(one.passed for one in checked) if checked else None,
        'criteria': [asdict(one) for one in checked],
    }
    asked = {
        'fail_under': {limit.scalar.name: limit.value for limit in limits} or None,
        'file': criteria.content if criteria else None,
        'allow': comparison.allowed if comparison else None,
    }
    report['criteria'] = asked if any(value is not None for value in asked.values()) else None
    report['comparison'] = comparison.content() if comparison else None


def exit_code(report: Mapping[str, Any]) -> ExitCode:
    """Return the exit code of a replay with this report. A failed gate counts more than incomplete input."""
    if report['verdict']['passed'] is False:
        return ExitCode.GATE
    return ExitCode.SUCCESS if report['complete'] else ExitCode.INCOMPLETE

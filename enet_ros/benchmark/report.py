"""The results of a benchmark as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from enet_ros.benchmark.case import Case, Operation
from enet_ros.benchmark.suite import Results
from enet_ros.benchmark.tables import (
    CostRow,
    Floor,
    costs_table,
    details_table,
    floors_table,
    profile_table,
    ratios_table,
    times_table,
)

_NOISY = 2.5
"""Ratio of the 99th percentile to the median above which other programs probably disturbed the measurement."""


def report(machine: Mapping[str, str], results: Results, network_names: Mapping[str, str], costs: Sequence[CostRow],
           floors: Sequence[Floor], profiles: Mapping[str, Sequence[Operation]],
           notes: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """Return the tables as Markdown, and the same figures as a value for JSON.

    Args:
        machine: The description of the machine.
        results: The measurements.
        network_names: The network of each model, ENet or SegNet.
        costs: The rows of Table 3.
        floors: The minimum times of measured cases.
        profiles: The operations of engines, by a title.
        notes: What else could not be measured, and why.

    """
    parts = [
        '\n'.join(f'* {name}: {value}' for name, value in machine.items()),
        times_table(results.rows, results.out_of_memory),
        ratios_table(results.rows, network_names),
        details_table(results.rows),
        costs_table(costs) if costs else '',
        floors_table(floors) if floors else '',
        *(f'{name}\n\n{profile_table(operations)}' for name, operations in profiles.items()),
        '\n'.join((*_noisy(results), *(f'* not measured: {note}' for note in (*_left_out(results), *notes)))),
    ]
    data = {
        'machine': dict(machine),
        'rows': [asdict(row) for row in results.rows],
        'out_of_memory': [_key(case) for case in results.out_of_memory],
        'not_measured': [{**_key(case), 'reason': why} for case, why in results.left_out.items()],
        'notes': list(notes),
        'costs': [asdict(cost) for cost in costs],
        'floors': [asdict(floor) for floor in floors],
        'profiles': {name: list(operations) for name, operations in profiles.items()},
    }
    return '\n\n'.join(filter(None, parts)), data


def _key(case: Case) -> dict[str, str | int]:
    spec = case.spec
    return {'model': case.model.stem, 'backend': spec.backend, 'precision': spec.precision, 'width': spec.width,
            'height': spec.height, 'batch': spec.batch}


def _noisy(results: Results) -> list[str]:
    """Return a warning if the slowest end-to-end runs took far longer than the median."""
    worst = max((row.end_to_end_p99_ms / row.end_to_end_ms for row in results.rows), default=1)
    if worst <= _NOISY:
        return []
    return [f'* the machine was busy: some runs took {worst:.1f} times as long as the median; end other programs and repeat']


def _left_out(results: Results) -> list[str]:
    """Return what could not be measured and why, one line for each backend, precision and reason."""
    return list(dict.fromkeys(f'{case.spec.backend} {case.spec.precision}: {why}' for case, why in results.left_out.items()))

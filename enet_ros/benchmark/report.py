"""Everything that a benchmark found, for readers and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from enet_ros.benchmark.measure import Case
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
"""Times the median from which on the 99th percentile tells of other programs."""
Operations = Sequence[tuple[str, int, float]]


def report(machine: Mapping[str, str], results: Results, network_names: Mapping[str, str], costs: Sequence[CostRow],
           floors: Sequence[Floor], profiles: Mapping[str, Operations],
           notes: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """Return the tables as Markdown, and the same figures for JSON.

    `network_names` gives each model's network, ENet or SegNet; `profiles` the operations of some engines, `notes` what
    else could not be measured.
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
    return {'model': case.model.stem, 'backend': case.backend, 'precision': case.precision, 'width': case.size[0],
            'height': case.size[1], 'batch': case.batch}


def _noisy(results: Results) -> list[str]:
    """Return a warning where the slowest end-to-end runs took far longer than the typical one."""
    worst = max((row.end_to_end_p99_ms / row.end_to_end_ms for row in results.rows), default=1)
    if worst <= _NOISY:
        return []
    return [f'* the machine was busy: some runs took {worst:.1f} times as long as the median; measure again when it is not']


def _left_out(results: Results) -> list[str]:
    """Return what was left out and why, one line for each backend, precision and reason."""
    return list(dict.fromkeys(f'{case.backend} {case.precision}: {why}' for case, why in results.left_out.items()))

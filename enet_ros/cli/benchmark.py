"""`enet benchmark`: the paper's Tables 2 and 3 on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from enet_ros.benchmark.machine import describe_machine
from enet_ros.benchmark.report import report
from enet_ros.benchmark.suite import (
    BENCHMARK_BACKENDS,
    BENCHMARK_PRECISIONS,
    NETWORK_NAMES,
    benchmark_models,
    choose_backends,
    costs,
    floors,
    make_cases,
    measure_all,
    profile_all,
)
from enet_ros.benchmark.tables import PAPER_SIZES
from enet_ros.cli.arguments import add_json_argument, positive_integer, positive_number, size
from enet_ros.errors import EnetError
from enet_ros.files import check_writable, replacing, write_json
from enet_ros.resources import default_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

Outcome = TypeVar('Outcome')


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'benchmark', help='measure speed, memory and cost on this machine',
        description="Print the paper's Table 2 (milliseconds and images a second, by size) and Table 3 (operations, "
                    "parameters, size) with this machine's figures. Every case runs in a process of its own; a dash is a "
                    'case that the memory does not suffice for.',
    )
    parser.add_argument('--model', type=Path, nargs='+', default=[default_model()], metavar='FILE',
                        help='model files (default: the CamVid model of the package)')
    parser.add_argument('--sizes', type=size, nargs='+', default=PAPER_SIZES, metavar='WxH',
                        help="network sizes in pixels, multiples of 8 (default: the paper's)")
    parser.add_argument('--backends', nargs='+', choices=BENCHMARK_BACKENDS, metavar='BACKEND',
                        help=f'from {", ".join(BENCHMARK_BACKENDS)} (default: all that are installed; torch-compile, which '
                             'compiles for minutes on a CPU, with a GPU alone)')
    parser.add_argument('--precisions', nargs='+', choices=BENCHMARK_PRECISIONS, default=BENCHMARK_PRECISIONS,
                        metavar='PRECISION',
                        help=f'from {", ".join(BENCHMARK_PRECISIONS)} (default: all that backend and hardware have)')
    parser.add_argument('--batch', type=positive_integer, nargs='+', default=[1], metavar='N',
                        help='images at a time (default: 1)')
    parser.add_argument('--seconds', type=positive_number, default=3.0, metavar='S',
                        help='time to measure each case, without warm-up (default: 3)')
    parser.add_argument('--segnet', action=argparse.BooleanOptionalAction, default=True,
                        help="also measure SegNet, the paper's baseline, with random weights (default: yes)")
    parser.add_argument('--profile', action='store_true',
                        help='also tell where the time goes: the operations of the first model at the first size')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the tables into this file, too')
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables and write what was asked for."""
    for path in (arguments.json, arguments.markdown):
        if path:
            check_writable(path)  # before the measurements, which take long
    backends = choose_backends(arguments.backends)
    with benchmark_models(arguments.model, arguments.segnet) as models:
        cases = make_cases(models, backends, arguments.precisions, arguments.sizes, arguments.batch, arguments.seconds)
        results = measure_all(cases)
        counted = costs(models)
        notes: list[str] = []
        least = _attempt('floors', lambda: floors(results.rows, models), notes) or []
        profiles = {}
        if arguments.profile:
            profiles = _attempt('profile', lambda: profile_all(results.rows, models, arguments.sizes[0]), notes) or {}
        networks = {path.stem: NETWORK_NAMES[model.info.architecture.network] for path, model in models.items()}
    text, data = report(describe_machine(), results, networks, counted, least, profiles, notes)
    print(text)
    if arguments.markdown:
        with replacing(arguments.markdown) as temporary:
            temporary.write_text(text + '\n', encoding='utf-8')
    if arguments.json:
        write_json(arguments.json, data)
    return 130 if results.interrupted else 0


def _attempt(what: str, work: Callable[[], Outcome], notes: list[str]) -> Outcome | None:
    """Return what `work` does, or None with a note why not: what was measured before must not be lost by it."""
    try:
        return work()
    except KeyboardInterrupt:
        notes.append(f'{what}: interrupted')
    except (EnetError, RuntimeError) as error:  # CUDA's lack of memory is a RuntimeError
        notes.append(f'{what}: {" ".join(str(error).split())}')
    return None

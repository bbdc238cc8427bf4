"""`enet benchmark`: the paper's Tables 2 and 3 on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from enet_ros.benchmark.case import Operation
from enet_ros.benchmark.report import report
from enet_ros.benchmark.suite import (
    BENCHMARK_BACKENDS,
    BENCHMARK_PRECISIONS,
    benchmark_models,
    choose_backends,
    costs,
    floors,
    make_cases,
    measure_all,
    profile_all,
)
from enet_ros.benchmark.tables import PAPER_SIZES, CostRow, Floor
from enet_ros.cli.arguments import add_json_argument, positive_integer, positive_number, size
from enet_ros.errors import EnetError, one_line
from enet_ros.exit_codes import ExitCode
from enet_ros.files import check_writable, write_bytes, write_json
from enet_ros.machine import describe_machine
from enet_ros.resources import default_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

Outcome = TypeVar('Outcome')


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'benchmark', help='measure speed, memory and cost on this machine',
        description="Print the paper's Table 2 (milliseconds and images per second, by size) and Table 3 (operations, "
                    'parameters, size) with the figures of this machine. Each case runs in its own process. A dash means '
                    'not enough memory.',
    )
    parser.add_argument('--model', type=Path, nargs='+', default=[default_model()], metavar='FILE',
                        help='model files (default: the CamVid model of the package)')
    parser.add_argument('--sizes', type=size, nargs='+', default=PAPER_SIZES, metavar='WxH',
                        help="network sizes in pixels, multiples of 8 (default: the paper's)")
    parser.add_argument('--backends', nargs='+', choices=BENCHMARK_BACKENDS, metavar='BACKEND',
                        help=f'any of {", ".join(BENCHMARK_BACKENDS)} (default: all that are installed; torch-compile only '
                             'with an NVIDIA GPU, because it compiles slowly on a CPU)')
    parser.add_argument('--precisions', nargs='+', choices=BENCHMARK_PRECISIONS, default=BENCHMARK_PRECISIONS,
                        metavar='PRECISION',
                        help=f'any of {", ".join(BENCHMARK_PRECISIONS)} (default: all that backend and hardware support)')
    parser.add_argument('--batch', type=positive_integer, nargs='+', default=[1], metavar='N',
                        help='images per run (default: 1)')
    parser.add_argument('--seconds', type=positive_number, default=3.0, metavar='S',
                        help='minimum seconds to measure each case, without warm-up (default: 3)')
    parser.add_argument('--segnet', action=argparse.BooleanOptionalAction, default=True,
                        help="also measure SegNet, the paper's baseline, with random weights (default: yes)")
    parser.add_argument('--profile', action='store_true',
                        help='also print where the time goes: the operations of the first model at the first size')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='also write the tables to this file')
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables and write the requested files."""
    for path in (arguments.json, arguments.markdown):
        if path:
            check_writable(path)  # now, because the measurements take long
    backends = choose_backends(arguments.backends)
    with benchmark_models(arguments.model, arguments.segnet) as models:
        cases = make_cases(models, backends, arguments.precisions, arguments.sizes, arguments.batch, arguments.seconds)
        results = measure_all(cases)
        notes: list[str] = []
        counted: list[CostRow] = []
        least: list[Floor] = []
        profiles: dict[str, list[Operation]] = {}
        if not results.interrupted:  # then what was measured must be printed before a second signal
            counted = _attempt('costs', lambda: costs(models), notes) or []
            least = _attempt('floors', lambda: floors(results.rows, models), notes) or []
            if arguments.profile:
                profiles = _attempt('profile', lambda: profile_all(results.rows, models, arguments.sizes[0]), notes) or {}
        networks = {path.stem: model.info.architecture.title for path, model in models.items()}
    text, data = report(describe_machine(), results, networks, counted, least, profiles, notes)
    print(text)
    if arguments.markdown:
        write_bytes(arguments.markdown, f'{text}\n'.encode())
    if arguments.json:
        write_json(arguments.json, data)
    return ExitCode.INTERRUPTED if results.interrupted else ExitCode.SUCCESS


def _attempt(what: str, work: Callable[[], Outcome], notes: list[str]) -> Outcome | None:
    """Return the result of `work`, or None after adding a note about its failure, which must not lose the measurements."""
    try:
        return work()
    except KeyboardInterrupt:
        notes.append(f'{what}: interrupted')
    except (EnetError, RuntimeError) as error:  # CUDA reports a lack of memory as a RuntimeError
        notes.append(f'{what}: {one_line(error)}')
    return None

"""The steps of first_gpu_run.sh. The report is written after every step, and finished steps are not repeated."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enet_ros.benchmark.tables import PAPER_SIZES
from enet_ros.cli.arguments import positive_number
from enet_ros.engines.base import PRELU_FORMS
from enet_ros.errors import EnetError
from enet_ros.files import write_bytes, write_json
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.parsing import read_json

SIZE = '640x360'
LINES = 400
"""Of a step's output, at most so many last lines are in the report. The file beside it has all."""
GRACE = 20.0
"""Seconds that an interrupted step has to write what it measured, before it is killed."""


@dataclass(frozen=True)
class Step:
    """One command of the run."""

    name: str
    """Name of its files."""
    title: str
    command: Sequence[str]
    limit: float
    """Seconds after which it is interrupted."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables."""
    needs: str = ''
    """Name of a step without whose success this one is not run."""


def plan(out: Path) -> list[Step]:
    """Return the steps, the most important first. Each form of the PReLUs has its own cache of engines."""
    enet = [sys.executable, '-m', 'enet_ros.cli.main']
    benchmark = [*enet, 'benchmark', '--no-segnet', '--seconds', '1', '--precisions', 'fp16']
    caches = {form: {'ENET_CACHE': str(out.absolute() / f'cache-{form}')} for form in PRELU_FORMS}
    sizes = [f'{width}x{height}' for width, height in PAPER_SIZES]
    steps = [
        # a Jetson may lack nvidia-smi
        Step('gpu', 'GPU and driver', ['sh', '-c', 'nvidia-smi || cat /etc/nv_tegra_release'], 20),
        Step('packages', 'Python packages', [sys.executable, '-m', 'pip', 'list', '--format', 'freeze'], 30),
    ]
    for form, cache in caches.items():
        build = [*enet, 'build-engine', '--backend', 'tensorrt', '--precision', 'fp16', '--size', SIZE, '--prelu', form,
                 '--force']
        steps += [
            Step(f'build-{form}', f'Build and verify, PReLU as {form}', build, 240, cache),
            Step(f'speed-{form}', f'Speed at {SIZE}, PReLU as {form}',
                 [*benchmark, '--sizes', SIZE, '--backends', 'tensorrt', '--profile'], 60, cache, f'build-{form}'),
            Step(f'layers-{form}', f'Time of each layer at {SIZE}, PReLU as {form}',
                 [sys.executable, 'scripts/profile_tensorrt.py', '--size', SIZE], 60, cache, f'build-{form}'),
        ]
    cache = caches[PRELU_FORMS[0]]
    tests = [sys.executable, '-m', 'pytest', '--gpu', '-v', '--durations', '10', 'test/test_gpu.py']
    steps.append(Step('tests', 'Tests on the GPU', tests, 240))
    backends = {'torch': ['torch-eager', 'torch'], 'tensorrt': ['tensorrt'], 'compile': ['torch-compile']}
    for kind, names in backends.items():
        for batch in ('1', '2', '4'):
            steps.append(Step(f'{kind}-{batch}', f'{", ".join(names)}: four sizes, batch {batch}',
                              [*benchmark, '--sizes', *sizes, '--backends', *names, '--batch', batch], 300, cache))
    return steps


def run_steps(steps: Sequence[Step], out: Path, deadline: float) -> bool:
    """Run `steps` until `deadline` (of `time.monotonic`). Return whether all have succeeded."""
    write_report(steps, out)
    named = {step.name: step for step in steps}
    for step in steps:
        left = deadline - time.monotonic()
        # without its engine, a step would build one, in the default form
        if _succeeded(step, out) or (step.needs and not _succeeded(named[step.needs], out)):
            continue
        if left <= GRACE:
            break
        print(f'{step.title} ...', flush=True)
        start = time.monotonic()
        code = _run(step, out / f'{step.name}.log', min(step.limit, left - GRACE))
        result = {'command': list(step.command), 'code': code, 'seconds': round(time.monotonic() - start, 1)}
        write_json(out / f'{step.name}.json', result)
        write_report(steps, out)
    return all(_succeeded(step, out) for step in steps)


def _succeeded(step: Step, out: Path) -> bool:
    return (_result(step, out) or {}).get('code') == 0


def _run(step: Step, log: Path, limit: float) -> int | None:
    """Run a step with its output in `log`. Return its exit code; None where it was stopped after `limit` seconds."""
    with log.open('wb') as output:
        try:
            process = subprocess.Popen(step.command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       env={**os.environ, 'PYTHONUNBUFFERED': '1', **step.variables},
                                       start_new_session=True)
        except OSError as error:
            output.write(f'{error}\n'.encode())
            return 127
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            _interrupt(process)
            return None
        except KeyboardInterrupt:
            print(f'stopping within {GRACE:.0f} s; interrupt again to stop at once', flush=True)
            _interrupt(process)
            raise
        finally:
            if process.poll() is None:
                _signal(process, signal.SIGKILL)
            process.wait()


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a step end and write what it measured, for `GRACE` seconds."""
    _signal(process, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a step and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _result(step: Step, out: Path) -> dict[str, Any] | None:
    """Return exit code and seconds of this step in an earlier or this run; None if it did not end."""
    try:
        result = read_json(out / f'{step.name}.json')
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get('command') == list(step.command) else None


def write_report(steps: Sequence[Step], out: Path) -> None:
    """Write `report.md`: a table of all steps, then the output of those that were started."""
    table, sections = ['| step | result | seconds |', '|---|---|---:|'], []
    for step in steps:
        result, log = _result(step, out), out / f'{step.name}.log'
        if result is None:
            state, seconds = 'stopped with this script' if log.exists() else 'not run', ''
        else:
            states = {0: 'done', None: 'stopped at its time limit'}
            state, seconds = states.get(result['code'], f'failed with exit code {result["code"]}'), str(result['seconds'])
        table.append(f'| {step.title} | {state} | {seconds} |')
        if log.exists():
            lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
            shown = [line.rpartition('\r')[2] for line in lines[-LINES:]]  # of a progress bar its last state
            cut = [f'Last {LINES} of {len(lines)} lines; all are in {log.name}.', ''] if len(lines) > LINES else []
            sections += ['', f'## {step.title}', '', f'Result: {state}', '', *cut, '```', f'$ {" ".join(step.command)}',
                         *(line.replace('```', "'''") for line in shown), '```']
    write_bytes(out / 'report.md', '\n'.join(['# First run on a GPU', '', *table, *sections, '']).encode())


def main() -> int:
    """Read the arguments, run the steps and print where the report is."""
    parser = argparse.ArgumentParser(description='Run what first_gpu_run.sh describes.')
    parser.add_argument('--out', type=Path, default=Path('out/first-gpu-run'), metavar='DIR',
                        help='folder of the report, the logs and the engines (default: out/first-gpu-run)')
    parser.add_argument('--minutes', type=positive_number, default=9.5, metavar='M',
                        help='end after at most M minutes (default: 9.5)')
    parser.add_argument('--dry-run', action='store_true', help='only print the commands, and write the report of that')
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the step must end, too
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    steps = plan(arguments.out)
    if arguments.dry_run:
        steps = [Step(step.name, step.title, ['echo', *step.command], step.limit) for step in steps]
    elif not has_nvidia_gpu():
        print(f'{parser.prog}: PyTorch finds no NVIDIA GPU: install the driver and a PyTorch with CUDA, or see --dry-run',
              file=sys.stderr)
        return 1
    try:
        complete = run_steps(steps, arguments.out, deadline)
    except EnetError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        complete = False
        write_report(steps, arguments.out)
    remedy = '' if complete else '; incomplete: run it again to do what is missing'
    print(f'report: {arguments.out / "report.md"}{remedy}')
    return not complete


if __name__ == '__main__':
    sys.exit(main())

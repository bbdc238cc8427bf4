"""The steps and the report of scripts/first_gpu_run.sh, without a GPU."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from helpers import ROOT

from enet_ros.cli import benchmark, build_engine
from enet_ros.cli.main import main

SPEC = spec_from_file_location('first_gpu_run', ROOT / 'scripts' / 'first_gpu_run.py')
assert SPEC and SPEC.loader
script = module_from_spec(SPEC)
sys.modules['first_gpu_run'] = script  # where dataclasses look up their types
SPEC.loader.exec_module(script)

Step = script.Step


def _python(name: str, code: str, limit: float = 60) -> object:
    return Step(name, f'Step {name}', [sys.executable, '-c', code], limit)


def _states(out: Path) -> list[str]:
    """Return the results in the table of the report."""
    table = (out / 'report.md').read_text().split('\n\n')[1]
    return [line.split(' | ')[1] for line in table.splitlines()[2:]]


def _soon() -> float:
    return time.monotonic() + 300


def test_a_dry_run_has_every_step_in_its_report(tmp_path: Path) -> None:
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    done = subprocess.run(
        [ROOT / 'scripts' / 'first_gpu_run.sh', '--here', '--dry-run', '--out', tmp_path], capture_output=True, text=True,
        env={**os.environ, 'PATH': path},
    )
    assert done.returncode == 0, done.stderr
    report = (tmp_path / 'report.md').read_text()
    assert set(_states(tmp_path)) == {'done'}
    for part in ('--gpu', 'nvidia-smi', 'torch-eager', 'torch-compile', 'tensorrt', '480x320 640x360 1280x720 1920x1080',
                 '--batch 1', '--batch 2', '--batch 4', '--prelu layer', '--prelu maximum', 'profile_tensorrt.py'):
        assert part in report
    script.write_report(script.plan(tmp_path), tmp_path)
    assert 'done' not in _states(tmp_path)  # a dry run does not count as a run


def test_enet_takes_every_command_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []
    for command in (build_engine, benchmark):
        monkeypatch.setattr(command, 'run', lambda arguments: parsed.append(arguments) or 0)
    commands = [step.command for step in script.plan(tmp_path) if step.command[1:3] == ['-m', 'enet_ros.cli.main']]
    assert all(main(command[3:]) == 0 for command in commands) and len(parsed) == len(commands) > 10


def test_failures_and_stops_are_reported_and_only_they_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, 'GRACE', 1.0)
    counting = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    steps = [
        _python('good', counting),
        _python('bad', 'raise SystemExit(3)'),
        _python('partial', "print('measured', flush=True)\ntry:\n  import time; time.sleep(100)\n"
                           "except KeyboardInterrupt:\n  print('written in time')", 2),
        _python('deaf', 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(99)', 2),
        Step('missing', 'Step missing', ['/no/such/command'], 10),
    ]
    assert not script.run_steps(steps, tmp_path, _soon())
    stopped = 'stopped at its time limit'
    assert _states(tmp_path) == ['done', 'failed with exit code 3', stopped, stopped, 'failed with exit code 127']
    report = (tmp_path / 'report.md').read_text()
    assert 'written in time' in report and 'No such file' in report
    steps[1:] = [_python('bad', "print('``` now')")]
    assert script.run_steps(steps, tmp_path, _soon())
    assert _states(tmp_path) == ['done', 'done'] and (tmp_path / 'count').read_text() == 'x'
    assert "''' now" in (tmp_path / 'report.md').read_text()


@pytest.mark.parametrize('content', ['', '[]', '[' * 100_000], ids=['empty', 'list', 'too deep'])
def test_a_step_whose_result_is_damaged_is_repeated(content: str, tmp_path: Path) -> None:
    (tmp_path / 'good.json').write_text(content)
    assert script.run_steps([_python('good', 'pass')], tmp_path, _soon())
    assert _states(tmp_path) == ['done']


def test_what_an_engine_is_needed_for_is_not_run_when_its_build_fails(tmp_path: Path) -> None:
    # it would build the engine itself, with the other form of the PReLUs
    steps = [_python('build', 'raise SystemExit(1)'), dataclasses.replace(_python('speed', 'pass'), needs='build')]
    assert not script.run_steps(steps, tmp_path, _soon())
    assert _states(tmp_path) == ['failed with exit code 1', 'not run']
    assert script.run_steps([_python('build', 'pass'), steps[1]], tmp_path, _soon())
    needed = {step.name: step.needs for step in script.plan(tmp_path)}
    assert needed['speed-maximum'] == needed['layers-maximum'] == 'build-maximum'


def test_the_run_ends_in_time_whatever_a_step_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, 'GRACE', 1.0)
    deaf = 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(99)'
    deadline = time.monotonic() + 4
    assert not script.run_steps([_python('a', deaf), _python('b', deaf)], tmp_path, deadline)
    assert time.monotonic() < deadline + 1 and _states(tmp_path) == ['stopped at its time limit', 'not run']


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['--out', 'new'], 'first_gpu_run.py: PyTorch finds no NVIDIA GPU'), (['--out', 'file/x', '--dry-run'], 'cannot write'),
], ids=['no GPU', 'no folder'])
def test_what_makes_a_run_impossible_is_one_line(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    monkeypatch.setattr(sys, 'argv', ['first_gpu_run.py', *arguments])
    assert script.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line and os.listdir(tmp_path) == ['file']


def test_without_time_left_the_rest_is_not_run(tmp_path: Path) -> None:
    assert not script.run_steps([_python('a', 'print(1)')], tmp_path, time.monotonic())
    assert _states(tmp_path) == ['not run']


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stop_loses_nothing_of_the_steps_before_it(number: signal.Signals, tmp_path: Path) -> None:
    code = f'''
import sys, time
sys.path.insert(0, {str(ROOT / 'scripts')!r})
import first_gpu_run
from pathlib import Path
from first_gpu_run import Step
first_gpu_run.has_nvidia_gpu = lambda: True
code = """
import os, time
print(os.getpid(), flush=True)
try:
    time.sleep(100)
except KeyboardInterrupt:
    print('measured until then')
"""
sleep = [sys.executable, '-c', code]
first_gpu_run.plan = lambda out: [Step('a', 'A', ['echo', 'a result'], 60), Step('b', 'B', sleep, 60)]
sys.argv = ['first_gpu_run', '--out', {str(tmp_path)!r}]
sys.exit(first_gpu_run.main())
'''
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as process:
        log = tmp_path / 'b.log'
        while process.poll() is None and not (log.exists() and log.read_text().endswith('\n')):
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(30)
    step = int(log.read_text().split()[0])
    report = (tmp_path / 'report.md').read_text()
    assert 'a result' in report and _states(tmp_path)[0] == 'done'
    if number == signal.SIGKILL:
        os.kill(step, signal.SIGKILL)  # nobody else ends it
    else:
        assert 'stopped with this script' in report and 'measured until then' in report
        with pytest.raises(ProcessLookupError):
            os.kill(step, 0)

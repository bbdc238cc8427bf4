"""scripts/fuzz.py: rounds of fuzz tests, and what is saved of one that fails."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

_ALWAYS_FAILS = '''
from fuzz_inputs import reads
from hypothesis import given, strategies as st

@given(st.integers())
def test_of_a_reader_that_fails(number):
    assert reads(lambda: 1 // number) != 3
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the script and one fuzz test, whose reader raises ZeroDivisionError for 0."""
    (tmp_path / 'test' / 'fuzz').mkdir(parents=True)
    for name in ('scripts/fuzz.py', 'setup.cfg', 'test/fuzz_inputs.py', 'test/fuzz/conftest.py'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / 'test' / 'fuzz' / 'test_reader.py').write_text(_ALWAYS_FAILS)
    return tmp_path


def _fuzz(checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / 'scripts' / 'fuzz.py'), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_a_failure_is_saved_with_the_input_and_the_command_that_repeats_it(checkout: Path) -> None:
    done = _fuzz(checkout, '--seed', 7)
    log = checkout / 'out' / 'fuzz' / '7.txt'
    assert done.returncode == 1, done.stdout + done.stderr
    assert f'see {log}, repeat with: scripts/fuzz.sh --seed 7 -k test_of_a_reader_that_fails' in done.stdout
    text = log.read_text()
    assert 'ZeroDivisionError' in text and 'number=0' in text


def test_rounds_without_a_failure_are_counted_and_leave_no_file(checkout: Path) -> None:
    path = checkout / 'test' / 'fuzz' / 'test_reader.py'
    path.write_text(_ALWAYS_FAILS.replace('1 // number', 'number').replace('!= 3', 'is not None'))
    # as a shell starts it in the background
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = _fuzz(checkout, '--minutes', 0.2)
    signal.signal(signal.SIGINT, ignored)
    assert done.returncode == 0, done.stdout + done.stderr
    last = [line.split(' failed, ')[1] for line in done.stdout.splitlines() if line.startswith('seed ')][-1]
    assert int(last.split()[0]) >= 100 and f'{last.split()[0]} all' in done.stdout
    assert not list((checkout / 'out' / 'fuzz').iterdir())


def test_a_round_without_tests_fails(checkout: Path) -> None:
    done = _fuzz(checkout, '--seed', 7, '-k', 'nothing')
    assert done.returncode == 1 and 'pytest ended with 5' in done.stdout

"""Run the `enet` command in tests."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from enet_ros.cli.main import main

SCRIPT = Path(sys.executable).with_name('enet')
ENET = (str(SCRIPT),) if SCRIPT.is_file() else (sys.executable, '-m', 'enet_ros.cli.main')
"""The installed command, or that of the checkout if the package is not installed."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    stdout: str
    stderr: str


def enet(*arguments: object, code: int = 0) -> Done:
    """Run `enet` in this process, where it starts fast, and check its exit code."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            returned: object = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            returned = ended.code
    done = Done(stdout.getvalue(), stderr.getvalue())
    assert returned == code, done
    return done


def refused(*arguments: object, code: int = 1) -> str:
    """Return the single line that `enet` prints when it refuses its arguments."""
    done = enet(*arguments, code=code)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def enet_process(*arguments: object, code: int = 0) -> Done:
    """Run `enet` as a user does, as its own process, and check its exit code."""
    done = subprocess.run([*ENET, *map(str, arguments)], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == code, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    return Done(done.stdout, done.stderr)

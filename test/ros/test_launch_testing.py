"""Runs the launch_testing test. Its own pytest plugin is off: setup.cfg says why."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT

if find_spec('launch_testing') is None:
    pytest.skip('needs launch_testing, which is not on PyPI: source a ROS 2 installation', allow_module_level=True)


def test_the_node_under_launch_testing(small_model: Path) -> None:
    test = ROOT / 'test' / 'launch' / 'segment.py'
    done = subprocess.run([sys.executable, '-m', 'launch_testing.launch_test', str(test)],
                          env={**os.environ, 'ENET_TEST_MODEL': str(small_model)}, capture_output=True, text=True,
                          timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Ran 2 tests' in done.stderr + done.stdout and 'Ran 1 test ' in done.stderr + done.stdout

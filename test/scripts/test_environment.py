"""scripts/environment.sh with a stand-in for the Python of .venv that records the calls of pip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

PYTHON = '''#!/bin/sh
echo "$*" >>"$(dirname "$0")/calls"
case "$*" in
    *--force-reinstall*) cd "$(dirname "$0")" && [ ! -e broken ] && : >enet && chmod +x enet;;
esac
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with few files and an environment whose requirements are installed."""
    names = ('scripts/environment.sh', 'scripts/lib', 'setup.py', 'setup.cfg', 'package.xml', 'requirements', 'resource')
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, path)
    for folder in ('enet_ros', 'launch', 'config', 'models'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'file').write_text('1')
    binaries = tmp_path / '.venv' / 'bin'
    binaries.mkdir(parents=True)
    (binaries / 'python').write_text(PYTHON)
    (binaries / 'python').chmod(0o755)
    (binaries / 'activate').write_text('')
    for name in ('build', 'run', 'ros-wheels'):
        shutil.copy(tmp_path / 'requirements' / f'{name}.txt', tmp_path / '.venv' / f'installed-{name}.txt')
    return tmp_path


def installs(checkout: Path, *names: str, code: int = 0) -> list[str]:
    """Prepare the environment and return what pip was told to install."""
    calls = checkout / '.venv' / 'bin' / 'calls'
    calls.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != 'ROS_DISTRO'}
    done = subprocess.run(['bash', '-c', f'. scripts/environment.sh; prepare_environment {" ".join(names)}'], cwd=checkout,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.rpartition('--quiet ')[2] for line in lines]


def test_the_package_is_installed_only_when_an_installed_file_changed(checkout: Path) -> None:
    package = ['--no-deps --no-build-isolation --use-pep517 --force-reinstall .']
    assert installs(checkout) == package
    assert installs(checkout) == []
    (checkout / 'README.md').write_text('not installed')
    (checkout / 'enet_ros' / '__pycache__').mkdir()
    (checkout / 'enet_ros' / '__pycache__' / 'file.pyc').write_text('')
    assert installs(checkout) == []
    for change in (
        lambda: (checkout / 'config' / 'file').write_text('2'),
        lambda: (checkout / 'enet_ros' / 'file').rename(checkout / 'enet_ros' / 'renamed'),
        lambda: (checkout / 'scripts' / 'lib' / 'enet').unlink(),
        lambda: (checkout / '.venv' / 'bin' / 'enet').unlink(),
    ):
        change()
        assert installs(checkout) == package
        assert installs(checkout) == []


def test_an_installation_that_failed_is_repeated(checkout: Path) -> None:
    installs(checkout)
    (checkout / 'config' / 'file').write_text('2')
    (checkout / '.venv' / 'bin' / 'broken').write_text('')
    assert len(installs(checkout, code=1)) == 1
    (checkout / '.venv' / 'bin' / 'broken').unlink()
    (checkout / 'config' / 'file').write_text('1')  # as it was when the installation succeeded
    assert len(installs(checkout)) == 1
    assert installs(checkout) == []


def test_requirements_are_installed_when_their_file_changed(checkout: Path) -> None:
    installs(checkout)
    (checkout / 'requirements' / 'run.txt').write_text('numpy\n')
    assert installs(checkout, 'train') == [f'-r {checkout}/requirements/{name}.txt' for name in ('run', 'train')]
    assert installs(checkout, 'train') == []

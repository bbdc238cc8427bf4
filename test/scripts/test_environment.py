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
    locked = '--no-deps --require-hashes -r'
    assert installs(checkout, 'test') == [f'{locked} {checkout}/requirements/{name}.txt' for name in ('run', 'test')]
    assert installs(checkout, 'test') == []


@pytest.mark.parametrize('choice', ['cpu', 'cuda'])
def test_pytorch_is_installed_for_training_in_the_chosen_build(
    choice: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(checkout)
    monkeypatch.setenv('ENET_TORCH', choice)
    calls = installs(checkout, 'train')
    assert [call.rpartition('/')[2] for call in calls] == ['train.txt', f'torch-{choice}.txt']
    assert '--require-hashes' in calls[0] and ('--require-hashes' in calls[1]) is (choice == 'cuda')


@pytest.mark.parametrize('name', ['build', 'ros-extra', 'ros-wheels', 'run', 'test', 'torch-cuda', 'train'])
def test_every_package_is_locked_with_hashes_and_as_it_is_asked_for(name: str) -> None:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line[:1].isalnum()]
    assert starts and all('==' in lines[start] and '--hash=sha256:' in lines[start + 1] for start in starts)
    locked = {canonical(lines[start].partition(';')[0].rstrip(' \\')) for start in starts}
    asked = (ROOT / 'requirements' / f'{name}.in').read_text().splitlines()
    pinned = {canonical(line.partition(';')[0]) for line in asked if line and not line.startswith('#')}
    assert pinned - locked <= ({'torch==2.13.0'} if name == 'train' else set()), 'run scripts/lock.sh'
    assert not [line for line in lines if '://' in line]  # no index of the machine that wrote it


def test_no_set_has_cuda_libraries_unless_it_is_chosen() -> None:
    for path in (ROOT / 'requirements').glob('*.txt'):
        has_cuda = any(line.startswith(('nvidia-', 'triton', 'cuda-')) for line in path.read_text().splitlines())
        assert has_cuda is (path.stem == 'torch-cuda'), path


def canonical(requirement: str) -> str:
    return requirement.strip().lower().replace('_', '-').replace('[fastrtps]', '')


def test_another_processor_than_x86_64_needs_ros(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / 'bin').mkdir()
    (checkout / 'bin' / 'uname').write_text('#!/bin/sh\necho aarch64\n')
    (checkout / 'bin' / 'uname').chmod(0o755)
    monkeypatch.setenv('PATH', str(checkout / 'bin'), prepend=os.pathsep)
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    done = subprocess.run(['bash', '-c', '. scripts/environment.sh; prepare_environment'], cwd=checkout, text=True,
                          capture_output=True)
    assert done.returncode == 1
    assert done.stderr == 'ROS 2 from wheels is for x86-64 only: install ROS 2 and source its setup.bash\n'

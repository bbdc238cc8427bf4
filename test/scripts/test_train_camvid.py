"""scripts/train_camvid.sh with a few steps, in the environment of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers import ROOT

from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a copy of the script next to an environment.sh that installs nothing."""
    folder = tmp_path / 'scripts'
    folder.mkdir()
    (folder / 'environment.sh').write_text('prepare_environment() { [ "$*" = train ]; }\n')
    return Path(shutil.copy(ROOT / 'scripts' / 'train_camvid.sh', folder))


@pytest.fixture
def enet(tmp_path: Path) -> Path:
    """Return the command `enet`, which is first on the PATH of the script."""
    path = tmp_path / 'bin' / 'enet'
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m enet_ros.cli.main "$@"\n')
    path.chmod(0o755)
    return path


def _run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PATH': f'{script.parents[1] / "bin"}:{os.environ["PATH"]}'}
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300)


def test_it_trains_and_evaluates_split_test_and_resumes_when_run_again(script: Path, enet: Path, tmp_path: Path) -> None:
    for split in ('train', 'val', 'test'):
        for number in range(3):
            image, labels = draw_scene(number * 5, 96, 64)
            write_image(tmp_path / 'camvid' / split / f'{split}{number}.png', image)
            write_image(tmp_path / 'camvid' / f'{split}annot' / f'{split}{number}.png', labels)
    few_steps = (
        '--set', 'size=[96, 64]', '--set', 'precision=32-true', '--set', 'batch_size=2', '--set', 'warmup_epochs=0',
        '--set', 'stages=[{name: decoder, network: enet, epochs: 2, learning_rate: 0.001, crop: [64, 64], '
        'scale: [0.5, 2.0], rotation: 0, loss: cross_entropy, class_weight_constant: 1.02}]',
    )
    done = _run(script, tmp_path / 'camvid', tmp_path / 'out', *few_steps)
    assert done.returncode == 0, done.stderr
    run = tmp_path / 'out' / 'run'
    assert read_model(run / 'model.safetensors').info.dataset == 'camvid'
    assert 'on test of camvid: 3 images' in done.stdout and cv2.imread(str(run / 'test' / 'confusion.png')) is not None
    enet.write_text('#!/bin/sh\necho "$@"\n')  # prints how it is called: what it does is tested elsewhere
    again = _run(script, tmp_path / 'camvid', tmp_path / 'out', '--compile')
    train, evaluate = (line.split() for line in again.stdout.splitlines())
    assert train[0] == 'train' and train[-2:] == ['--resume', '--compile'] and str(run) in train
    assert evaluate[0] == 'evaluate' and str(run / 'model.safetensors') in evaluate


def test_without_its_folders_it_prints_its_usage(script: Path, tmp_path: Path) -> None:
    for arguments in ((), (tmp_path / 'none', tmp_path / 'out')):
        done = _run(script, *arguments)
        assert done.returncode == 2 and done.stderr.startswith('usage: ') and done.stderr.count('\n') == 1

"""scripts/train_camvid.sh for a few steps; its environment is the one that the tests run in."""

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
    """Return the script beside an environment.sh that installs nothing."""
    folder = tmp_path / 'scripts'
    folder.mkdir()
    (folder / 'environment.sh').write_text('prepare_environment() { [ "$*" = train ]; }\n')
    return Path(shutil.copy(ROOT / 'scripts' / 'train_camvid.sh', folder))


def _run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300)


def test_it_trains_goes_on_and_evaluates_the_test_part(script: Path, tmp_path: Path) -> None:
    for split in ('train', 'val', 'test'):
        for number in range(3):
            image, labels = draw_scene(number * 5, 96, 64)
            write_image(tmp_path / 'camvid' / split / f'{split}{number}.png', image)
            write_image(tmp_path / 'camvid' / f'{split}annot' / f'{split}{number}.png', labels)
    few_steps = (
        '--set', 'size=[96, 64]', '--set', 'precision=32-true', '--set', 'batch_size=2', '--set', 'warmup_epochs=0',
        '--set', 'stages=[{name: decoder, network: enet, epochs: 2, learning_rate: 0.001, crop: [64, 64], '
        'scale: [0.5, 2.0], class_weight_constant: 1.02}]',
    )
    done = _run(script, tmp_path / 'camvid', tmp_path / 'out', *few_steps)
    assert done.returncode == 0, done.stderr
    run = tmp_path / 'out' / 'run'
    assert read_model(run / 'model.safetensors').info.dataset == 'camvid'
    assert 'on test of camvid: 3 images' in done.stdout and cv2.imread(str(run / 'test' / 'confusion.png')) is not None
    again = _run(script, tmp_path / 'camvid', tmp_path / 'out', *few_steps)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-5:] == done.stdout.splitlines()[-5:]  # finished stages are passed over


def test_without_its_folders_it_says_how_it_is_called(script: Path, tmp_path: Path) -> None:
    for arguments in ((), (tmp_path / 'none', tmp_path / 'out')):
        done = _run(script, *arguments)
        assert done.returncode == 2 and done.stderr.startswith('usage: ') and done.stderr.count('\n') == 1

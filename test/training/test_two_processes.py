"""Runs in two processes over gloo, started by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, draw_dataset

from enet_ros.images.files import write_image
from enet_ros.labels import VOID
from enet_ros.network.model_file import read_model
from enet_ros.training.history import read_history

PROGRAM = ROOT / 'test' / 'training' / 'two_processes.py'


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the runs of two processes in `two`, one run of one process in `one`, and the output of both."""
    folder = tmp_path_factory.mktemp('processes')
    dataset = draw_dataset(folder, train=8)
    for sample in dataset.samples('train')[::3]:  # batches of which each process gets another number of labelled pixels
        write_image(sample.labels_path, np.where(np.arange(64)[:, None] < 40, np.uint8(VOID), sample.read()[1]))
    path = os.pathsep.join((str(ROOT / 'test'), os.environ.get('PYTHONPATH', '')))
    for name, launcher, more in (
        ('one', [], []), ('two', ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'], ['all']),
    ):
        (folder / name).mkdir()
        command = [sys.executable, *launcher, str(PROGRAM), str(dataset.root), str(folder / name), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                              env={**os.environ, 'PYTHONPATH': path, 'CUDA_VISIBLE_DEVICES': ''})
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / f'{name}.txt').write_text(done.stdout)
    return folder


def test_two_processes_train_as_one_does(runs: Path) -> None:
    one, two = (read_history(runs / name / 'frozen' / 'decoder') for name in ('one', 'two'))
    np.testing.assert_allclose(two.loss, one.loss, rtol=5e-3)
    np.testing.assert_allclose(two.learning_rate, one.learning_rate, rtol=1e-6)
    paths = (runs / 'one' / 'moved.0', runs / 'two' / 'moved.0', runs / 'two' / 'moved.1')
    moved, first, second = (torch.load(path, weights_only=True) for path in paths)
    assert torch.equal(first, second)
    # float32 sums depend on the order, and Adam amplifies gradients close to zero
    assert (first - moved).norm() < 0.01 * moved.norm()


def test_two_processes_validate_as_one_does(runs: Path) -> None:
    one, two = (read_history(runs / name / 'frozen' / 'decoder').mean_iou for name in ('one', 'two'))
    np.testing.assert_allclose(two, one, rtol=0.02)
    assert max(value for _, value in one) > 0


def test_one_of_two_processes_writes_and_prints_the_results(runs: Path) -> None:
    assert (runs / 'two.txt').read_text().count('mean IoU') == 1
    assert read_model(runs / 'two' / 'whole' / 'model.safetensors').info.metrics


def test_a_signal_to_one_of_two_processes_stops_both_and_they_resume_to_the_same_weights(runs: Path) -> None:
    output = (runs / 'two.txt').read_text()
    assert 'process 1: stopped by SIGTERM' in output and 'process 0: stopped by a signal to another process' in output
    whole, resumed = (read_model(runs / 'two' / name / 'model.safetensors').weights for name in ('whole', 'stopped'))
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values, name)

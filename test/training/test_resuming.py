"""Runs that are stopped, killed or interrupted, and then resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from recipes import AtStep, one_stage, recipe_file, signal_at

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingStopped
from enet_ros.network.model_file import read_model
from enet_ros.training.checkpoints import read_checkpoint
from enet_ros.training.finish import FinishedRun
from enet_ros.training.history import read_history
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import Recipe

ENVIRONMENT = {**os.environ, 'PYTHONPATH': os.pathsep.join((str(ROOT / 'test'), os.environ.get('PYTHONPATH', ''))),
               'CUDA_VISIBLE_DEVICES': ''}


def assert_same_weights(model: Path, expected: Path) -> None:
    weights = read_model(model).weights
    for name, values in read_model(expected).weights.items():
        np.testing.assert_array_equal(weights[name], values, name)


def test_a_run_stopped_after_every_step_has_the_weights_and_history_of_one_never_stopped(
    dataset: Dataset, recipe: Recipe, finished: FinishedRun, tmp_path: Path
) -> None:
    run = tmp_path / 'run'
    for stage, steps in (('encoder', (1, 2)), ('decoder', range(1, 7))):
        for step in steps:
            with pytest.raises(TrainingStopped, match=f'stopped by SIGTERM, saved {run / stage}.*--resume'):
                train_stages(dataset, recipe, run, resume=run.exists(), callbacks=[signal_at(step)])
            assert read_checkpoint(run / stage / 'last.ckpt')['global_step'] == step
    assert_same_weights(train_stages(dataset, recipe, run, resume=True), finished.model)
    for stage in ('encoder', 'decoder'):
        history, expected = (read_history(folder / stage) for folder in (run, finished.model.parent))
        assert history.mean_iou == expected.mean_iou and expected.mean_iou


def test_finished_stages_are_not_repeated(dataset: Dataset, recipe: Recipe, stopped: Path) -> None:
    train_stages(dataset, recipe, stopped, resume=True)
    logs = [sorted(path.parent.name for path in (stopped / stage).glob('log/*/metrics.csv')) for stage in
            ('encoder', 'decoder')]
    assert logs == [['version_0'], ['version_0', 'version_1']]
    assert len((stopped / 'decoder' / 'log' / 'version_1' / 'metrics.csv').read_text().splitlines()) == 3  # one epoch


def test_a_killed_run_resumes_to_the_same_weights(
    dataset: Dataset, recipe: Recipe, finished: FinishedRun, tmp_path: Path
) -> None:
    config = recipe_file(tmp_path / 'r.yaml', recipe)
    code = f'''
import os, signal
from pathlib import Path
import torch
from recipes import signal_at
from enet_ros.datasets.prepared import read_dataset
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import read_recipe
torch.set_num_threads(len(os.sched_getaffinity(0)))  # as conftest.py does
train_stages(read_dataset(Path({str(dataset.root)!r})), read_recipe(Path({str(config)!r})), Path({str(tmp_path / "run")!r}),
             callbacks=[signal_at(3, signal.SIGKILL)])
'''
    done = subprocess.run([sys.executable, '-c', code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # the last epoch that was complete
    assert read_checkpoint(tmp_path / 'run' / 'decoder' / 'last.ckpt')['global_step'] == 2
    assert_same_weights(train_stages(dataset, recipe, tmp_path / 'run', resume=True), finished.model)


def test_ctrl_c_before_the_first_step_is_a_keyboard_interrupt(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt  # as Python's own handler does, which is in use until the first step

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        train_stages(dataset, one_stage(), tmp_path / 'run', callbacks=[AtStep(1, interrupt)])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_ctrl_c_saves_and_exits_with_130_and_one_line_that_says_how_to_resume(dataset: Dataset, tmp_path: Path) -> None:
    # it would train for hours
    config = recipe_file(tmp_path / 'r.yaml', one_stage(epochs=100_000))
    command = [sys.executable, '-m', 'enet_ros.cli.main', 'train', '--data', str(dataset.root), '--config', str(config),
               '--out', str(tmp_path / 'run')]
    # reset SIGINT: programs that a shell runs in the background ignore it, and so do their children
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        output = b''
        while b'Epoch 2' not in output and (part := process.stdout.read1(4096)):
            output += part
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().decode()
    assert process.returncode == 130, output.decode() + rest
    lines = [line for line in rest.splitlines() if line.startswith('enet: ')]
    assert len(lines) == 1 and 'stopped by SIGINT' in lines[0] and '--resume' in lines[0] and 'Traceback' not in rest
    assert read_checkpoint(tmp_path / 'run' / 'decoder' / 'last.ckpt')['global_step'] > 0

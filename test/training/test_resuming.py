from __future__ import annotations

import csv
import dataclasses
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from recipes import RECIPE, changed_stage, recipe_file

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError
from enet_ros.network.model_file import read_model
from enet_ros.training.checkpoints import StopOnSignal, WholeCheckpoints
from enet_ros.training.history import read_history
from enet_ros.training.loop import train
from enet_ros.training.recipe import Recipe

Make = Callable[..., Dataset]


def test_a_folder_with_a_run_is_not_overwritten(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1),))
    train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match='--resume'):
        train(dataset, recipe, tmp_path / 'run', False)
    with pytest.raises(TrainingError, match=r'another recipe.*recipe\.last_kernel, 3 there and 2 here'):
        train(dataset, dataclasses.replace(recipe, last_kernel=2), tmp_path / 'run', True)
    for name in ('last.ckpt', 'best.ckpt'):
        whole = (tmp_path / 'run' / 'decoder' / name).read_bytes()
        (tmp_path / 'run' / 'decoder' / name).write_bytes(b'cut off')
        with pytest.raises(TrainingError, match=rf'{name} is damaged: remove the folder .*decoder'):
            train(dataset, recipe, tmp_path / 'run', True)
        (tmp_path / 'run' / 'decoder' / name).write_bytes(whole)
    (tmp_path / 'run' / 'run.json').unlink()
    with pytest.raises(TrainingError, match=r'decoder is there, but no .*run.json'):
        train(dataset, recipe, tmp_path / 'run')


def test_the_best_epoch_stays_the_best_when_a_run_is_moved_and_resumed(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=2, learning_rate=5e-3)
    train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), tmp_path / 'run')
    # say that the best epoch, which was the first, was better than any can be; and that the stage has more epochs
    best = tmp_path / 'run' / 'decoder' / 'best.ckpt'
    for path in (best, tmp_path / 'run' / 'decoder' / 'last.ckpt'):
        checkpoint = torch.load(path, weights_only=True)
        state = next(state for name, state in checkpoint['callbacks'].items() if 'val_mean_iou' in name)
        state['best_k_models'] = dict.fromkeys(state['best_k_models'], torch.tensor(2.0))
        state['best_model_score'] = state['kth_value'] = torch.tensor(2.0)
        torch.save(checkpoint, path)
    before = best.read_bytes()
    shutil.move(tmp_path / 'run', tmp_path / 'moved')
    run = tmp_path / 'moved' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 2', '"epochs": 4'))
    train(dataset, dataclasses.replace(RECIPE, stages=(dataclasses.replace(stage, epochs=4),)), tmp_path / 'moved', True)
    assert len(read_history(tmp_path / 'moved' / 'decoder').mean_iou) == 4
    assert (tmp_path / 'moved' / 'decoder' / 'best.ckpt').read_bytes() == before


def test_a_better_epoch_after_a_resume_is_kept_where_the_folder_is_relative(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset, out = drawn_dataset(), Path('run')
    stage = dataclasses.replace(RECIPE.stages[1], epochs=2, learning_rate=5e-3)
    train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), out)
    # say that the best epoch was worse than any can be; and that the stage has one more
    last = out / 'decoder' / 'last.ckpt'
    checkpoint = torch.load(last, weights_only=True)
    state = next(state for name, state in checkpoint['callbacks'].items() if 'val_mean_iou' in name)
    state['best_k_models'] = dict.fromkeys(state['best_k_models'], torch.tensor(-1.0))
    state['best_model_score'] = state['kth_value'] = torch.tensor(-1.0)
    torch.save(checkpoint, last)
    run = out / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 2', '"epochs": 3'))
    train(dataset, dataclasses.replace(RECIPE, stages=(dataclasses.replace(stage, epochs=3),)), out, True)
    assert torch.load(out / 'decoder' / 'best.ckpt', weights_only=True)['epoch'] == 2


@pytest.mark.parametrize('step', range(1, 7))
def test_after_whatever_step_it_stops_a_run_goes_on_to_the_same_weights_and_figures(
    step: int, drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = drawn_dataset(train=7)  # two steps an epoch, and one sample left over
    stage = dataclasses.replace(RECIPE.stages[1], epochs=3, learning_rate=5e-3, crop=(32, 32))
    recipe = dataclasses.replace(RECIPE, validate_every=2, stages=(stage,))
    whole = read_model(train(dataset, recipe, tmp_path / 'whole'))
    on_train_batch_end = StopOnSignal.on_train_batch_end

    def stop_there(self: StopOnSignal, trainer: lightning.Trainer, *others: object) -> None:
        if trainer.global_step == step:
            signal.raise_signal(signal.SIGTERM)
        on_train_batch_end(self, trainer, *others)

    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, 'on_train_batch_end', stop_there)
        with pytest.raises(TrainingError, match=r'stopped by SIGTERM'):
            train(dataset, recipe, tmp_path / 'stopped')
    resumed = read_model(train(dataset, recipe, tmp_path / 'stopped', True))
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], values, name)
    first, second = (read_history(tmp_path / name / 'decoder').mean_iou for name in ('whole', 'stopped'))
    assert [epoch for epoch, _ in first] == [2, 3] and second == first


def test_two_processes_that_stop_go_on_to_the_same_weights(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(train=8)  # four steps an epoch
    config = recipe_file(tmp_path / 'r.yaml', batch_size=2, stages=changed_stage(epochs=2, learning_rate=5e-3))
    (tmp_path / 'stopped.py').write_text("""
import os, signal, sys
from enet_ros.cli.main import main
from enet_ros.training.checkpoints import StopOnSignal
on_train_batch_end = StopOnSignal.on_train_batch_end
def stop_there(self, trainer, *others):
    if trainer.global_step == 3 and os.environ['RANK'] == '1':  # the other one has to hear of it
        signal.raise_signal(signal.SIGTERM)
    on_train_batch_end(self, trainer, *others)
StopOnSignal.on_train_batch_end = stop_there
sys.exit(main(sys.argv[1:]))
""")

    def torchrun(program: list[str], out: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', *program, 'train',
                   '--data', str(dataset.root), '--config', str(config), '--out', str(tmp_path / out), *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    enet = ['-m', 'enet_ros.cli.main']
    assert torchrun(enet, 'whole').returncode == 0
    stopped = torchrun([str(tmp_path / 'stopped.py')], 'run')
    assert stopped.returncode != 0 and 'stopped by SIGTERM' in stopped.stderr
    assert torch.load(tmp_path / 'run' / 'decoder' / 'last.ckpt', weights_only=True)['global_step'] == 3
    resumed = torchrun(enet, 'run', '--resume')
    assert resumed.returncode == 0, resumed.stderr
    whole, run = (read_model(tmp_path / name / 'model.safetensors').weights for name in ('whole', 'run'))
    for name, values in whole.items():
        np.testing.assert_array_equal(run[name], values, name)


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=1)
    train(dataset, dataclasses.replace(RECIPE, stages=(stage,)), tmp_path / 'run')
    run = tmp_path / 'run' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 1', '"epochs": 3'))
    last = tmp_path / 'run' / 'decoder' / 'last.ckpt'
    before = last.read_bytes()
    stages = [dataclasses.asdict(dataclasses.replace(stage, epochs=3))]
    config = recipe_file(tmp_path / 'r.yaml', stages=stages)
    # a limit of the size of files stands in for a full disk; Python ignores the signal that would come with it
    limited = 'import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); ' \
              'from enet_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    done = subprocess.run(
        [sys.executable, '-c', limited, 'train', '--data', str(dataset.root), '--config', str(config),
         '--out', str(tmp_path / 'run'), '--resume'], capture_output=True, text=True,
    )
    # the best one may come before the last one
    told = re.search(rf'cannot write {last.parent}/(last|best).ckpt: make room on the disk', done.stderr)
    assert done.returncode == 1 and told and 'Traceback' not in done.stderr, done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob('.*'))  # nothing half-written


def test_a_loss_that_is_not_finite_stops_the_run_which_goes_on_at_a_lower_rate(
    drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset()

    def recipe(rate: float) -> Recipe:
        return dataclasses.replace(
            RECIPE, stages=(RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], learning_rate=rate))
        )

    with pytest.raises(TrainingError, match=r'stage decoder, epoch \d, step \d+ \(samples train\d.*lower learning_rate'):
        train(dataset, recipe(1e30), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'model.safetensors').exists()
    assert (tmp_path / 'run' / 'encoder' / 'last.ckpt').exists()
    shutil.rmtree(tmp_path / 'run' / 'decoder')
    model = read_model(train(dataset, recipe(1e-3), tmp_path / 'run', True))
    assert model.info.recipe['stages'][1]['learning_rate'] == 1e-3
    assert max(rate for _, rate in read_history(tmp_path / 'run' / 'decoder').learning_rate) <= 1e-3


def test_a_lower_rate_is_used_from_the_middle_of_a_stage_on(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    stage = dataclasses.replace(RECIPE.stages[1], epochs=2)
    train(dataset, dataclasses.replace(RECIPE, warmup_epochs=0.0, schedule='poly', stages=(stage,)), tmp_path / 'run')
    run = tmp_path / 'run' / 'run.json'
    run.write_text(run.read_text().replace('"epochs": 2', '"epochs": 4'))
    lower = dataclasses.replace(stage, epochs=4, learning_rate=1e-5)
    train(dataset, dataclasses.replace(RECIPE, warmup_epochs=0.0, schedule='poly', stages=(lower,)), tmp_path / 'run', True)
    rates = [rate for _, rate in read_history(tmp_path / 'run' / 'decoder').learning_rate]
    assert min(rates[:2]) > 1e-4 and max(rates[2:]) < 1e-5


def test_weights_that_are_not_finite_never_replace_a_checkpoint(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    recipe = dataclasses.replace(RECIPE, batch_size=6, stages=(dataclasses.replace(RECIPE.stages[1], epochs=1),))
    train(dataset, recipe, tmp_path / 'run')
    last = tmp_path / 'run' / 'decoder' / 'last.ckpt'
    checkpoint = torch.load(last, weights_only=True)
    checkpoint['state_dict']['network.decoder.fullconv.bias'][0] = math.nan
    with pytest.raises(TrainingError, match=r'fullconv.bias is not finite after step 1, .*last.ckpt is as it was'):
        WholeCheckpoints().save_checkpoint(checkpoint, last)
    assert math.isfinite(torch.load(last, weights_only=True)['state_dict']['network.decoder.fullconv.bias'][0])


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=['killed', 'interrupted', 'terminated'])
def test_a_run_that_was_stopped_resumes_to_the_same_weights(
    how: signal.Signals, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset(train=12)
    stages = (RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], epochs=12))
    recipe = dataclasses.replace(RECIPE, stages=stages)
    whole = read_model(train(dataset, recipe, tmp_path / 'whole', False))

    config = recipe_file(tmp_path / 'r.yaml', stages=[dataclasses.asdict(stage) for stage in stages])
    command = [sys.executable, '-m', 'enet_ros.cli.main', 'train', '--data', str(dataset.root), '--config', str(config),
               '--out', str(tmp_path / 'stopped')]
    with open(tmp_path / 'log', 'wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        checkpoint = tmp_path / 'stopped' / 'decoder' / 'last.ckpt'
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(0.1)  # into the midst of an epoch
        process.send_signal(how)
        process.wait()
    said = (tmp_path / 'log').read_text()
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL, said
    else:
        assert process.returncode == 1 and f'stopped by {how.name}: go on with --resume' in said, said
        assert 'Traceback' not in said
    resumed = read_model(train(dataset, recipe, tmp_path / 'stopped', True))
    # it went on, and did not start anew: the finished stage has no further epoch, the other none of the first
    assert not _epochs(tmp_path / 'stopped' / 'encoder' / 'log' / 'version_1')
    assert 0 < min(_epochs(tmp_path / 'stopped' / 'decoder' / 'log' / 'version_1')) < 12
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], values, name)


def test_a_stopped_run_has_saved_the_very_step(drawn_dataset: Make, tmp_path: Path) -> None:
    # an epoch that would take minutes: what is saved at its end alone would not be there
    config = recipe_file(tmp_path / 'r.yaml', batch_size=1, stages=changed_stage(epochs=1))
    dataset = drawn_dataset(train=400)
    out = tmp_path / 'run'
    with open(tmp_path / 'log', 'wb') as log:
        process = subprocess.Popen(
            [sys.executable, '-m', 'enet_ros.cli.main', 'train', '--data', str(dataset.root), '--config', str(config),
             '--out', str(out)], stdout=log, stderr=log,
        )
        while b'Epoch 0:   1%' not in (tmp_path / 'log').read_bytes() and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        process.wait()
    assert process.returncode == 1, (tmp_path / 'log').read_text()
    assert 0 < torch.load(out / 'decoder' / 'last.ckpt', weights_only=True)['global_step'] < 400


def _epochs(log: Path) -> list[int]:
    """Return the epochs that a log holds the loss of."""
    path = log / 'metrics.csv'
    if not path.exists():
        return []
    with open(path, newline='') as file:
        return [int(row['epoch']) for row in csv.DictReader(file) if row.get('loss')]

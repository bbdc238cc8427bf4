from __future__ import annotations

import math
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from recipes import AtStep, one_stage
from resource_limits import file_size_limit

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError
from enet_ros.training.checkpoints import AtomicCheckpoints, read_checkpoint
from enet_ros.training.history import read_history
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import Recipe


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / 'last.ckpt'
    checkpoints = AtomicCheckpoints()
    checkpoints.save_checkpoint({'global_step': 1, 'state_dict': {'weight': torch.ones(4)}}, path)
    with file_size_limit(100_000), pytest.raises(TrainingError, match=f'cannot write {path}: .*disk.*--resume'):
        checkpoints.save_checkpoint({'global_step': 2, 'state_dict': {'weight': torch.ones(100_000)}}, path)
    assert read_checkpoint(path)['global_step'] == 1
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written


def test_a_checkpoint_is_on_the_disk_when_the_next_step_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(os, 'fsync', lambda handle: flushed.append(os.fstat(handle).st_ino))
    path = tmp_path / 'last.ckpt'
    AtomicCheckpoints().save_checkpoint({'global_step': 1, 'state_dict': {}}, path)
    assert flushed == [path.stat().st_ino, tmp_path.stat().st_ino]  # what it holds, then its name


def test_weights_that_are_not_finite_never_replace_a_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    def damage(task: torch.nn.Module) -> None:
        task.network.decoder.fullconv.bias.data[0] = math.nan

    with pytest.raises(TrainingError, match=r'fullconv.bias is not finite after step 2, .*\.ckpt is kept.*learning_rate'):
        train_stages(dataset, one_stage(batch_size=6), tmp_path / 'run', callbacks=[AtStep(2, damage)])
    checkpoint = read_checkpoint(tmp_path / 'run' / 'decoder' / 'last.ckpt')
    assert checkpoint['global_step'] == 1
    assert all(torch.isfinite(values).all() for values in checkpoint['state_dict'].values())


def _set_best_score(run: Path, score: float) -> None:
    """Write into all checkpoints of a run that its best epoch had this mean IoU."""
    for path in (run / 'decoder').glob('*.ckpt'):
        checkpoint = torch.load(path, weights_only=True)
        state = next(state for name, state in checkpoint['callbacks'].items() if 'val_mean_iou' in name)
        state['best_k_models'] = dict.fromkeys(state['best_k_models'], torch.tensor(score))
        state['best_model_score'] = state['kth_value'] = torch.tensor(score)
        torch.save(checkpoint, path)


def test_the_best_epoch_of_a_moved_run_is_kept(dataset: Dataset, recipe: Recipe, stopped: Path, tmp_path: Path) -> None:
    _set_best_score(stopped, 2.0)  # no later epoch can be better
    moved = Path(shutil.move(stopped, tmp_path / 'moved'))
    before = (moved / 'decoder' / 'best.ckpt').read_bytes()
    train_stages(dataset, recipe, moved, resume=True)
    assert [epoch for epoch, _ in read_history(moved / 'decoder').mean_iou] == [2, 3]
    assert (moved / 'decoder' / 'best.ckpt').read_bytes() == before


def test_a_better_epoch_after_a_resume_is_kept_in_a_relative_folder(
    dataset: Dataset, recipe: Recipe, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_best_score(stopped, -1.0)  # every later epoch is better
    monkeypatch.chdir(stopped.parent)
    train_stages(dataset, recipe, Path(stopped.name), resume=True)
    assert read_checkpoint(stopped / 'decoder' / 'best.ckpt')['epoch'] == 2


def test_no_flipped_bit_changes_what_a_checkpoint_holds(tmp_path: Path) -> None:
    path, weights = tmp_path / 'last.ckpt', torch.arange(4000.)
    AtomicCheckpoints().save_checkpoint({'global_step': 7, 'state_dict': {'weight': weights}}, path)
    contents, generator, noticed = path.read_bytes(), random.Random(0), 0
    for _ in range(500):
        damaged = bytearray(contents)
        damaged[generator.randrange(len(contents))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            checkpoint = read_checkpoint(path)
        except TrainingError as error:
            assert str(error).startswith(f'checkpoint {path} is damaged: remove the folder {path.parent} and add --resume')
            noticed += 1
        else:  # a bit of the padding or of a date
            assert checkpoint['global_step'] == 7 and torch.equal(checkpoint['state_dict']['weight'], weights)
    assert noticed > 400


def test_a_run_does_not_continue_with_a_weight_that_a_flipped_bit_changed(
    dataset: Dataset, recipe: Recipe, stopped: Path
) -> None:
    path = stopped / 'decoder' / 'last.ckpt'
    contents = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        weight = max(map(archive.read, archive.namelist()), key=len)
    contents[contents.index(weight) + len(weight) // 2] ^= 1
    path.write_bytes(contents)
    with pytest.raises(TrainingError, match=f'{path} is damaged'):
        train_stages(dataset, recipe, stopped, resume=True)


@pytest.mark.parametrize('name', ['last.ckpt', 'best.ckpt'])
def test_a_damaged_or_missing_checkpoint_is_named_with_the_remedy(
    name: str, dataset: Dataset, recipe: Recipe, finished_copy: Path
) -> None:
    path = finished_copy / 'decoder' / name
    path.write_bytes(b'truncated')
    with pytest.raises(TrainingError, match=f'{path} is damaged: remove the folder {path.parent} .*--resume'):
        train_stages(dataset, recipe, finished_copy, resume=True)
    path.unlink()
    with pytest.raises(TrainingError, match=f'{path} is missing: remove the folder'):
        read_checkpoint(path)

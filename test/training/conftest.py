from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers import draw_dataset
from recipes import RECIPE, signal_at

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingStopped
from enet_ros.training.finish import FinishedRun
from enet_ros.training.loop import train, train_stages
from enet_ros.training.recipe import Recipe


def _use_all_threads() -> None:
    """Fix the number of threads: runs are compared bit by bit, and engines of other tests change it.

    A process that sets it computes other sums than one that does not, also where the number is the same.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))


@pytest.fixture(autouse=True)
def _threads() -> None:
    _use_all_threads()


@contextmanager
def _cpu_only() -> Iterator[None]:
    """Hide a GPU, as the fixture `_without_gpu` does for tests."""
    _use_all_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, 'is_available', lambda: False)
        patch.setattr(torch.cuda, 'device_count', lambda: 0)
        yield


@pytest.fixture(scope='session')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a prepared dataset of 6 training and 2 validation scenes. Do not change it."""
    return draw_dataset(tmp_path_factory.mktemp('dataset'))


@pytest.fixture(scope='session')
def recipe() -> Recipe:
    """Return the recipe of `finished` and `stopped`: one epoch of the encoder, then three of the network, two steps each."""
    decoder = dataclasses.replace(RECIPE.stages[1], epochs=3, learning_rate=5e-3)
    return dataclasses.replace(RECIPE, validate_every=2, stages=(RECIPE.stages[0], decoder))


@pytest.fixture(scope='session')
def finished(dataset: Dataset, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return a run that was never stopped. Do not change its files."""
    with _cpu_only():
        return train(dataset, recipe, tmp_path_factory.mktemp('finished') / 'run')


@pytest.fixture(scope='session')
def _stopped(dataset: Dataset, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('stopped') / 'run'
    with _cpu_only(), pytest.raises(TrainingStopped):
        train_stages(dataset, recipe, folder, callbacks=[signal_at(4)])  # after the first validation of the last stage
    return folder


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder of a run that was stopped after two of three epochs of its last stage."""
    return Path(shutil.copytree(_stopped, tmp_path / 'stopped'))


@pytest.fixture
def finished_copy(finished: FinishedRun, tmp_path: Path) -> Path:
    """Return a copy of the folder of `finished`."""
    return Path(shutil.copytree(finished.model.parent, tmp_path / 'finished'))

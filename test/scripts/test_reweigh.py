from __future__ import annotations

import dataclasses
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT
from recipes import one_stage, recipe_file

from enet_ros.datasets.prepared import Dataset
from enet_ros.network.model_file import read_model
from enet_ros.training.loop import train

MAIN = runpy.run_path(str(ROOT / 'scripts' / 'reweigh.py'))['main']


@pytest.fixture
def reweigh(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the script and returns what it prints."""

    def run(dataset: Path, out: Path, *constants: float) -> str:
        capsys.readouterr()
        MAIN(['--data', str(dataset), str(out), *map(str, constants)])
        return capsys.readouterr().out

    return run


def test_weights_of_the_training_give_its_metrics_and_others_give_others(
    drawn_dataset: Callable[..., Dataset], reweigh: Callable[..., str], tmp_path: Path
) -> None:
    dataset = drawn_dataset()
    recipe = one_stage(epochs=10, learning_rate=5e-3, validate_every=10)
    metrics = read_model(train(dataset, recipe, tmp_path / 'run').model).info.metrics['val']
    printed = reweigh(dataset.root, tmp_path / 'run', recipe.stages[0].class_weight_constant, 10)
    same, flat = ([float(figure) for figure in line.split()] for line in printed.splitlines()[1:])
    expected = [100 * metrics[name] for name in ('mean_iou', 'class_average', 'global_accuracy')]
    assert same == pytest.approx([1.02, *expected], abs=0.06)
    assert flat[0] == 10 and flat[1:] != same[1:]


@pytest.mark.parametrize('wrong', ['constant', 'run', 'classes', 'validation', 'loss'])
def test_what_cannot_be_estimated_is_refused_in_one_line(
    wrong: str, drawn_dataset: Callable[..., Dataset], small_model: Path, reweigh: Callable[..., str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset, run = drawn_dataset(train=1, val=1), tmp_path / 'run'
    run.mkdir()
    shutil.copy(small_model, run / 'model.safetensors')
    loss = 'cross_entropy+lovasz' if wrong == 'loss' else 'cross_entropy'
    recipe = dataclasses.replace(one_stage(loss=loss), splits=('train', 'val') if wrong == 'validation' else ('train',))
    if wrong != 'run':
        recipe_file(run / 'recipe.yaml', recipe)
    if wrong == 'classes':
        path = dataset.root / 'dataset.yaml'
        path.write_text(path.read_text().replace('Sky', 'Heaven'))
    with pytest.raises(SystemExit, match='2'):
        reweigh(dataset.root, run, 1.0 if wrong == 'constant' else 2.0)
    reason = {'constant': 'c is 1.0', 'run': 'run/recipe.yaml', 'validation': 'no validation samples',
              'loss': 'was trained with loss cross_entropy+lovasz: use a run with loss cross_entropy',
              'classes': 'only in the model: Sky; only in the dataset: Heaven'}
    assert reason[wrong] in capsys.readouterr().err.splitlines()[-1]

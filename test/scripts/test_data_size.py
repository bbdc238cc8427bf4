from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT
from recipes import one_stage, recipe_file

from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter

MAIN = runpy.run_path(str(ROOT / 'scripts' / 'data_size.py'))['main']


def test_subsets_are_trained_measured_on_other_images_and_drawn(
    drawn_dataset: Callable[..., Dataset], small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, results = drawn_dataset(train=6, val=3), tmp_path / 'from_model.json'
    recipe = recipe_file(tmp_path / 'recipe.yaml', one_stage(decoder_dropout=0.0))
    command = ['--data', str(dataset.root), '--config', str(recipe), '--steps', '2', '--weights', str(small_model),
               '--json', str(results), '--counts', '0', '3']
    MAIN(command)
    untrained, trained = (json.loads(results.read_text())[count] for count in ('0', '3'))
    segmenter = Segmenter(read_model(small_model), EngineSpec('torch', 'fp32'))
    assert untrained == evaluate(segmenter, dataset.samples('val')).summary()
    assert trained['images'] == 3 and trained != untrained
    capsys.readouterr()
    MAIN(command)
    assert not capsys.readouterr().out  # both are measured already
    MAIN(['--draw', str(tmp_path / 'picture.png'), str(results)])
    assert (tmp_path / 'picture.png').read_bytes().startswith(b'\x89PNG')


def test_a_drive_is_measured_on_its_second_half_and_does_not_give_more_images_than_its_first(
    drawn_dataset: Callable[..., Dataset], small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, results = drawn_dataset(train=6, val=3), tmp_path / 'results.json'
    command = ['--data', str(dataset.root), '--drive', 'train', '--weights', str(small_model), '--json', str(results)]
    MAIN([*command, '--counts', '0'])
    segmenter = Segmenter(read_model(small_model), EngineSpec('torch', 'fp32'))
    assert json.loads(results.read_text())['0'] == evaluate(segmenter, dataset.samples('train')[3:]).summary()
    with pytest.raises(SystemExit, match='2'):
        MAIN([*command, '--counts', '4'])
    assert '--counts must be in [0, 3]' in capsys.readouterr().err.replace('\n', ' ')

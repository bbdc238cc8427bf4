from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import pytest
from command import enet

from enet_ros.labels import CAMVID
from enet_ros.network.model_file import read_model, write_model


def test_the_contents_of_a_model_file_are_printed(small_model: Path) -> None:
    printed = enet('info', small_model).stdout
    assert read_model(small_model).sha256 in printed
    assert '365007 parameters, network enet, classes 11' in printed and '96x64' in printed
    assert all(name in printed for name in CAMVID.names)


def test_metrics_and_the_models_it_started_from_are_printed(small_model: Path, tmp_path: Path) -> None:
    model = read_model(small_model)
    first = {'sha256': '1' * 64, 'dataset': 'streets', 'recipe': {}}
    info = dataclasses.replace(
        model.info, metrics={'val': {'mean_iou': 0.5, 'class_average': None}, 'test': {}},
        begun_with={'sha256': '2' * 64, 'dataset': 'drives', 'recipe': {}, 'begun_with': first},
    )
    write_model(tmp_path / 'm.safetensors', info, model.weights)
    lines = enet('info', tmp_path / 'm.safetensors').stdout.splitlines()
    assert 'val          mean IoU 50.0' in lines and 'test         not measured' in lines
    starts = [line for line in lines if line.startswith('started from')]
    assert ['drives' in starts[0], 'streets' in starts[1], len(starts)] == [True, True, 2]


def test_json_has_the_description_and_the_slopes(small_model: Path, tmp_path: Path) -> None:
    enet('info', small_model, '--json', tmp_path / 'i.json')
    written, model = json.loads((tmp_path / 'i.json').read_text()), read_model(small_model)
    assert (written['sha256'], written['parameters']) == (model.sha256, 365007)
    assert written['architecture']['network'] == 'enet' and written['training_size'] == [96, 64]
    slopes, values = written['slopes'], model.weights['encoder.initial.activation.weight']
    assert len(slopes) == 82 and slopes[0]['layer'] == 'encoder.initial.activation'
    assert [slopes[0][key] for key in ('mean', 'min', 'max')] == pytest.approx([values.mean(), values.min(), values.max()])


def test_the_slopes_are_plotted(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    enet('info', small_model, '--prelu-plot', tmp_path / 's.png')
    assert cv2.imread(str(tmp_path / 's.png')) is not None


def test_a_missing_model_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    error = enet('info', tmp_path / 'none.safetensors', code=1).stderr
    assert 'none.safetensors' in error and error.count('\n') == 1

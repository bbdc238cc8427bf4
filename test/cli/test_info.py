from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from command import enet

from enet_ros.network.model_file import read_model


def test_info_shows_what_a_model_file_holds(small_model: Path, tmp_path: Path) -> None:
    done = enet('info', small_model, '--json', tmp_path / 'i.json')
    assert '365007 parameters, network enet, classes 11' in done.stdout
    assert '96x64' in done.stdout and 'Bicyclist' in done.stdout
    assert json.loads((tmp_path / 'i.json').read_text())['sha256'] == read_model(small_model).sha256


def test_info_draws_and_lists_the_slopes_of_the_prelus(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    enet('info', small_model, '--prelu-plot', tmp_path / 's.png', '--json', tmp_path / 'i.json')
    assert cv2.imread(str(tmp_path / 's.png')) is not None
    slopes = json.loads((tmp_path / 'i.json').read_text())['slopes']
    assert len(slopes) == 82 and slopes[0]['layer'] == 'encoder.initial.activation'
    values = read_model(small_model).weights['encoder.initial.activation.weight']
    assert [slopes[0][key] for key in ('mean', 'min', 'max')] == pytest.approx([values.mean(), values.min(), values.max()])

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import draw_dataset, without_matplotlib

from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.evaluation.report import write_report
from enet_ros.labels import LabelSet

EVALUATION = Evaluation(LabelSet(('sky', 'car'), ((0, 0, 0), (1, 1, 1))), 3, np.array([[6, 2, 0], [0, 1, 1]]))


def test_report_has_figures_table_and_chart(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    write_report(tmp_path / 'report', 'm on val', EVALUATION, {'model': 'm'})
    figures = json.loads((tmp_path / 'report' / 'report.json').read_text())
    assert figures['model'] == 'm' and figures['images'] == 3 and figures['confusion'] == [[6, 2, 0], [0, 1, 1]]
    assert figures['mean_iou'] == pytest.approx((6 / 8 + 1 / 4) / 2)
    table = (tmp_path / 'report' / 'table.md').read_text()
    assert table.startswith('m on val\n\n| class |') and '| sky | 75.0 | 75.0 |' in table
    assert cv2.imread(str(tmp_path / 'report' / 'confusion.png')) is not None


def test_without_matplotlib_evaluate_writes_figures_and_table_and_names_the_missing_chart(
    small_model: Path, tmp_path: Path
) -> None:
    dataset = draw_dataset(tmp_path, train=1, val=1)
    command = ['evaluate', '--model', str(small_model), '--data', str(dataset.root), '--backend', 'torch',
               '--report', str(tmp_path / 'report')]
    done = without_matplotlib(f'from enet_ros.cli.main import main\nsys.exit(main({command!r}))')
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / 'report').iterdir()) == ['report.json', 'table.md']
    warning = next(line for line in done.stderr.splitlines() if 'matplotlib' in line)
    assert str(tmp_path / 'report' / 'confusion.png') in warning and 'pip install matplotlib' in warning

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import without_matplotlib

from enet_ros.errors import EnetError
from enet_ros.evaluation.charts import Curves, curves_figure, draw_confusion, draw_curves, draw_slopes, slopes_figure
from enet_ros.labels import CITYSCAPES, SUNRGBD
from enet_ros.network.slopes import Slopes

pytest.importorskip('matplotlib')


def texts(path: Path) -> list[str]:
    """Return the texts in an svg file. Their letters are curves, with the text in a comment."""
    return re.findall(r'<!-- (.*?) -->', path.read_text())


def test_confusion_chart_has_class_names_and_percentages_of_the_true_class(tmp_path: Path) -> None:
    confusion = np.array([[88, 12, 0, 0], [1, 991, 8, 0], [0, 0, 0, 0]])
    draw_confusion(tmp_path / 'c.svg', ('Sky', 'Tree', 'Car'), confusion)
    written = texts(tmp_path / 'c.svg')
    # no number for a share below half a percent or a class without pixels; no column for void, which was not predicted
    assert sorted(text for text in written if text.isdigit()) == ['1', '12', '88', '99']
    assert written.count('Sky') == written.count('Tree') == written.count('Car') == 2 and 'void' not in written
    draw_confusion(tmp_path / 'v.svg', ('Sky', 'Tree', 'Car'), np.array([[5, 0, 0, 5], [0, 5, 0, 0], [0, 0, 5, 0]]))
    assert 'void' in texts(tmp_path / 'v.svg') and texts(tmp_path / 'v.svg').count('50') == 2


def test_confusion_chart_is_dark_on_the_diagonal_for_correct_predictions(tmp_path: Path) -> None:
    draw_confusion(tmp_path / 'c.png', CITYSCAPES.names, np.eye(19, 20, dtype=np.int64))
    picture = cv2.imread(str(tmp_path / 'c.png'), cv2.IMREAD_GRAYSCALE)
    _, _, stats, centres = cv2.connectedComponentsWithStats((picture < 80).astype(np.uint8))
    cells = sorted(centre for centre, area in zip(centres[1:].tolist(), stats[1:, cv2.CC_STAT_AREA]) if area > 1000)
    # from left to right they go down: class 0 is first on both axes
    assert len(cells) == 19 and sorted(cells, key=lambda centre: centre[1]) == cells
    assert min(picture.shape) > 1400


@pytest.mark.parametrize(('classes', 'fits'), [(len(SUNRGBD), True), (80, False)])
def test_percentages_are_omitted_where_cells_are_too_small(tmp_path: Path, classes: int, fits: bool) -> None:
    draw_confusion(tmp_path / 'c.svg', [f'class {number}' for number in range(classes)], np.eye(classes, classes + 1))
    assert ('100' in texts(tmp_path / 'c.svg')) == fits


def test_a_class_name_with_dollar_signs_is_not_a_formula(tmp_path: Path) -> None:
    draw_confusion(tmp_path / 'c.svg', ('$\\nonsense$',), np.array([[1, 0]]))
    assert texts(tmp_path / 'c.svg').count('$\\nonsense$') == 2


def test_slopes_chart_shows_mean_and_range_by_depth_and_marks_blocks_and_the_decoder() -> None:
    layers = ('encoder.initial.activation', 'encoder.down1.branch.1', 'encoder.down1.activation', 'decoder.up4.branch.1')
    slopes = [Slopes(layer, number, number - 1, number + 2) for number, layer in enumerate(layers)]
    for shown, border in ((slopes, [3]), (slopes[:3], [])):
        axes = slopes_figure(shown).axes[0]
        lines = {line.get_label(): line for line in axes.lines}
        count = 3 + len(border)
        assert lines['mean of the channels'].get_xydata().tolist() == [[x + 1, x] for x in range(count)]
        area = axes.collections[0].get_paths()[0].vertices
        assert area[:, 1].min() == -1 and area[:, 1].max() == count + 1
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ':'] == [1, 3]
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2] == border
        assert [text.get_text() for text in axes.texts] == ['encoder', 'decoder'] * len(border)


def test_a_network_without_prelu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'cannot draw .*s\.png: .*no PReLU'):
        draw_slopes(tmp_path / 's.png', [])


def test_curves_chart_shows_stages_in_sequence() -> None:
    figure = curves_figure([
        Curves('encoder', [(1, 2.0), (2, 1.0), (3, 0.5)], [(2, 0.25)], [(1, 1e-3), (3, 1e-4)]),
        Curves('decoder', [(1, 0.75)], [], [(1, 1e-3)]),
        Curves('not started', [], [], []),
    ])
    loss, iou, rate = (
        [points for line in axes.lines if line.get_linestyle() == '-' and (points := line.get_xydata().tolist())]
        for axes in figure.axes
    )
    assert loss == [[[1, 2], [2, 1], [3, 0.5]], [[4, 0.75]]]
    assert iou == [[[2, 25]]]
    assert rate == [[[1, 1e-3], [3, 1e-4]], [[4, 1e-3]]]
    starts = [(text.get_text(), text.xy[0]) for text in figure.axes[0].texts]
    assert starts == [('encoder', 0), ('decoder', 3), ('not started', 4)]


def test_curves_of_a_run_without_validation_have_no_empty_panel() -> None:
    figure = curves_figure([Curves('finetune', [(1, 2.0), (2, 1.0)], [], [(1, 1e-3), (2, 1e-4)])])
    assert [axes.get_ylabel() for axes in figure.axes] == ['training loss', 'learning rate']
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[1, 1e-3], [2, 1e-4]]


def test_curves_of_a_run_without_epochs_can_be_drawn(tmp_path: Path) -> None:
    draw_curves(tmp_path / 'c.png', [])
    assert cv2.imread(str(tmp_path / 'c.png')).shape[1] > 1000


@pytest.mark.parametrize('name', ['c.xyz', 'c'])
def test_an_unknown_format_is_refused_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnetError, match=name):
        draw_confusion(tmp_path / name, ('Sky',), np.array([[1, 0]]))
    assert list(tmp_path.iterdir()) == []


def test_a_chart_without_matplotlib_is_refused_with_the_remedy(tmp_path: Path) -> None:
    done = without_matplotlib(f"""
from pathlib import Path
import numpy as np
from enet_ros.errors import EnetError
from enet_ros.evaluation.charts import draw_confusion
try:
    draw_confusion(Path({str(tmp_path)!r}) / 'c.png', ('Sky',), np.array([[1, 0]]))
except EnetError as error:
    print(error)
""")
    assert 'pip install matplotlib' in done.stdout, done.stderr


def test_the_command_does_not_import_matplotlib_at_start() -> None:
    code = 'import sys, enet_ros.cli.main; sys.exit("matplotlib" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

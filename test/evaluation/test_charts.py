from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from enet_ros import charts
from enet_ros.errors import EnetError
from enet_ros.evaluation.charts import Curves, draw_confusion, draw_curves, draw_slopes
from enet_ros.labels import CITYSCAPES, SUNRGBD
from enet_ros.network.slopes import Slopes

pytest.importorskip('matplotlib')


def texts(path: Path) -> list[str]:
    """Return what is written in an svg file, whose letters are curves with the text in a comment."""
    return re.findall(r'<!-- (.*?) -->', path.read_text())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """Return the list that figures go to instead of a file."""
    figures: list = []
    monkeypatch.setattr(charts, '_save', lambda figure, path: figures.append(figure))
    return figures


def test_a_confusion_picture_names_the_classes_and_gives_percent_of_the_true_class(tmp_path: Path) -> None:
    confusion = np.array([[88, 12, 0, 0], [1, 991, 8, 0], [0, 0, 0, 0]])
    draw_confusion(tmp_path / 'c.svg', ('Sky', 'Tree', 'Car'), confusion)
    written = texts(tmp_path / 'c.svg')
    # the share below half a percent and the class without pixels are blank, and nothing was predicted void
    assert sorted(text for text in written if text.isdigit()) == ['1', '12', '88', '99']
    assert written.count('Sky') == written.count('Tree') == written.count('Car') == 2 and 'void' not in written
    draw_confusion(tmp_path / 'v.svg', ('Sky', 'Tree', 'Car'), np.array([[5, 0, 0, 5], [0, 5, 0, 0], [0, 0, 5, 0]]))
    assert 'void' in texts(tmp_path / 'v.svg') and texts(tmp_path / 'v.svg').count('50') == 2


def test_a_confusion_picture_is_dark_where_classes_are_found(tmp_path: Path) -> None:
    draw_confusion(tmp_path / 'c.png', CITYSCAPES.names, np.eye(19, 20, dtype=np.int64))
    picture = cv2.imread(str(tmp_path / 'c.png'), cv2.IMREAD_GRAYSCALE)
    _, _, stats, centres = cv2.connectedComponentsWithStats((picture < 80).astype(np.uint8))
    cells = sorted(centre for centre, area in zip(centres[1:].tolist(), stats[1:, cv2.CC_STAT_AREA]) if area > 1000)
    # from left to right they come down: class 0 is first on both axes
    assert len(cells) == 19 and sorted(cells, key=lambda centre: centre[1]) == cells
    assert min(picture.shape) > 1400


@pytest.mark.parametrize(('classes', 'fits'), [(len(SUNRGBD), True), (80, False)])
def test_percentages_stand_only_where_they_can_be_read(tmp_path: Path, classes: int, fits: bool) -> None:
    draw_confusion(tmp_path / 'c.svg', [f'class {number}' for number in range(classes)], np.eye(classes, classes + 1))
    assert ('100' in texts(tmp_path / 'c.svg')) == fits


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    draw_confusion(tmp_path / 'c.svg', ('$\\nonsense$',), np.array([[1, 0]]))
    assert texts(tmp_path / 'c.svg').count('$\\nonsense$') == 2


def test_slopes_are_drawn_by_depth_with_blocks_and_the_decoder_marked(drawn: list, tmp_path: Path) -> None:
    layers = ('encoder.initial.activation', 'encoder.down1.branch.1', 'encoder.down1.activation', 'decoder.up4.branch.1')
    slopes = [Slopes(layer, number, number - 1, number + 2) for number, layer in enumerate(layers)]
    draw_slopes(tmp_path / 's.png', slopes)
    draw_slopes(tmp_path / 's.png', slopes[:3])
    for figure, border in zip(drawn, ([3], [])):
        axes = figure.axes[0]
        lines = {line.get_label(): line for line in axes.lines}
        count = 3 + len(border)
        assert lines['mean of the channels'].get_xydata().tolist() == [[x + 1, x] for x in range(count)]
        area = axes.collections[0].get_paths()[0].vertices
        assert area[:, 1].min() == -1 and area[:, 1].max() == count + 1
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ':'] == [1, 3]
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2] == border
        assert [text.get_text() for text in axes.texts] == ['encoder', 'decoder'] * len(border)


def test_no_slopes_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'no PReLU to draw into .*s\.png'):
        draw_slopes(tmp_path / 's.png', [])


def test_curves_put_stages_one_after_the_other(drawn: list, tmp_path: Path) -> None:
    draw_curves(tmp_path / 'c.png', [
        Curves('encoder', [(1, 2.0), (2, 1.0), (3, 0.5)], [(2, 0.25)], [(1, 1e-3), (3, 1e-4)]),
        Curves('decoder', [(1, 0.75)], [], [(1, 1e-3)]),
        Curves('not begun', [], [], []),
    ])
    loss, iou, rate = (
        [points for line in axes.lines if line.get_linestyle() == '-' and (points := line.get_xydata().tolist())]
        for axes in drawn[0].axes
    )
    assert loss == [[[1, 2], [2, 1], [3, 0.5]], [[4, 0.75]]]
    assert iou == [[[2, 25]]]
    assert rate == [[[1, 1e-3], [3, 1e-4]], [[4, 1e-3]]]
    begins = [(text.get_text(), text.xy[0]) for text in drawn[0].axes[0].texts]
    assert begins == [('encoder', 0), ('decoder', 3), ('not begun', 4)]


def test_curves_of_a_training_that_has_just_begun_are_a_picture(tmp_path: Path) -> None:
    draw_curves(tmp_path / 'c.png', [])
    assert cv2.imread(str(tmp_path / 'c.png')).shape[1] > 1000


@pytest.mark.parametrize('name', ['c.xyz', 'c'])
def test_an_unknown_format_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnetError, match=name):
        draw_confusion(tmp_path / name, ('Sky',), np.array([[1, 0]]))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(EnetError, match='pip install matplotlib'):
        draw_confusion(tmp_path / 'c.png', ('Sky',), np.array([[1, 0]]))


def test_the_command_imports_matplotlib_only_to_draw() -> None:
    code = 'import sys, enet_ros.cli.main; sys.exit("matplotlib" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

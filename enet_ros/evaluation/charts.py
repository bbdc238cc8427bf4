"""Charts of results as functions of arrays and a path, whose suffix chooses the format: png, svg or pdf.

matplotlib is an optional dependency and slow to import: that happens when a chart is drawn, not before. Of it only `Figure`
is used, which unlike pyplot keeps no state and needs no display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError
from enet_ros.files import replacing
from enet_ros.network.slopes import Slopes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY = '#1f5fa8', '#8c8c8c'
POINTS = 72  # in an inch


@dataclass(frozen=True)
class Curves:
    """What was measured along one stage of a training, as pairs of epoch and value; epochs count from 1 in every stage."""

    name: str
    loss: Sequence[tuple[int, float]]
    mean_iou: Sequence[tuple[int, float]]
    """On the validation split, 0 to 1; not necessarily of every epoch."""
    learning_rate: Sequence[tuple[int, float]]


def require_matplotlib() -> None:
    """Refuse to go on where no chart can be drawn; for calling before the work whose result is to be drawn.

    Raises:
        EnetError: matplotlib is not installed.

    """
    if find_spec('matplotlib') is None:
        raise EnetError('charts need the package matplotlib, which is not installed: pip install matplotlib')


def draw_confusion(path: Path, names: Sequence[str], confusion: NDArray[np.int64]) -> None:
    """Draw a confusion matrix as `metrics.confusion_matrix` gives it, each row in percent of its true class's pixels.

    A class without pixels is an empty row; the column of pixels predicted void is there if there are any.

    Raises:
        EnetError: matplotlib is missing, or the file cannot be written.

    """
    columns = [*names, 'void'] if confusion[:, -1].any() else list(names)
    pixels = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, pixels, out=np.full(confusion.shape, np.nan), where=pixels > 0)[:, : len(columns)]
    cell = min(0.5, 15 / len(names))  # inches: many classes get smaller cells, not a larger picture
    figure = _figure(cell * len(columns), cell * len(names))
    axes = figure.add_axes((0, 0, 1, 1))
    # the square root lets a confusion of a few percent show beside hits of ninety
    axes.pcolormesh(np.sqrt(np.ma.masked_invalid(shares)), cmap='Blues', vmin=0, vmax=1, edgecolors='white', linewidth=0.8)
    size = 0.3 * cell * POINTS
    if size >= 5:  # smaller figures cannot be read
        for row, column in zip(*np.nonzero(shares >= 0.005)):
            share = shares[row, column]
            axes.text(column + 0.5, row + 0.5, f'{100 * share:.0f}', size=size, ha='center', va='center',
                      color='white' if share > 0.4 else 'black')
    size = min(10, 0.8 * cell * POINTS)
    # a dollar sign in a name is no formula
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, size=size, rotation=45, ha='right', rotation_mode='anchor',
                    parse_math=False)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, size=size, parse_math=False)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel='predicted', ylabel='true class', title="percent of each true class's pixels")
    _save(figure, path)


def draw_slopes(path: Path, slopes: Sequence[Slopes]) -> None:
    """Draw the slopes of a network's PReLUs against depth, as Figure 3 of the paper does.

    A dotted line marks each PReLU of the main branch, at the end of a block, and a grey line the last of the encoder.

    Raises:
        EnetError: there are no slopes, matplotlib is missing, or the file cannot be written.

    """
    if not slopes:
        raise EnetError(f'no PReLU to draw into {path}: the network has none')
    depth = range(1, len(slopes) + 1)
    figure = _figure(11, 4)
    axes = figure.add_subplot()
    axes.axhline(0, color='black', linewidth=0.6)
    axes.fill_between(depth, [slope.min for slope in slopes], [slope.max for slope in slopes], color=GREY, alpha=0.35,
                      linewidth=0, label='minimum to maximum')
    axes.plot(depth, [slope.mean for slope in slopes], color=BLUE, linewidth=1.6, label='mean of the channels')
    for number, slope in zip(depth, slopes):
        if slope.ends_block:
            axes.axvline(number, color=GREY, linewidth=0.7, linestyle=':')
    for number, (slope, following) in enumerate(pairwise(slopes), 1):
        if slope.part != following.part:
            axes.axvline(number, color=GREY, linewidth=2)
            for part, side in ((slope.part, 'right'), (following.part, 'left')):
                axes.annotate(part, (number, 1), (-6 if side == 'right' else 6, 4), ha=side, color='#555555',
                              xycoords=('data', 'axes fraction'), textcoords='offset points')
    axes.margins(x=0.01)
    axes.set(xlabel='PReLU, in the order of the forward pass', ylabel='slope of the negative side')
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    _open(axes)
    _save(figure, path)


def draw_curves(path: Path, stages: Sequence[Curves]) -> None:
    """Draw loss, validation mean IoU and learning rate of a training against epoch, its stages one after the other.

    Raises:
        EnetError: matplotlib is missing, or the file cannot be written.

    """
    figure = _figure(10, 7.5)
    panels = figure.subplots(3, sharex=True)
    begin = 0
    for stage in stages:
        curves = (stage.loss, [(epoch, 100 * value) for epoch, value in stage.mean_iou], stage.learning_rate)
        for axes, points in zip(panels, curves):
            # a curve of a single epoch has no line to be seen by
            axes.plot([begin + epoch for epoch, _ in points], [value for _, value in points], color=BLUE, linewidth=1.4,
                      marker='o' if len(points) == 1 else None, markersize=4, clip_on=False)
            if begin:
                axes.axvline(begin, color=GREY, linewidth=0.7, linestyle=':')
        panels[0].annotate(stage.name, (begin, 1), (3, 3), xycoords=('data', 'axes fraction'), textcoords='offset points',
                           color='#555555', parse_math=False)
        begin += max((epoch for points in curves for epoch, _ in points), default=0)
    for axes, label in zip(panels, ('training loss', 'validation mean IoU in %', 'learning rate')):
        axes.set_ylabel(label)
        axes.grid(axis='y', linewidth=0.4)
        _open(axes)
    panels[-1].ticklabel_format(axis='y', scilimits=(-2, 2))
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    panels[-1].set(xlabel='epoch', xlim=(0, max(begin, 1)))
    figure.align_ylabels()
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=150)


def _open(axes: Axes) -> None:
    axes.spines[['top', 'right']].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, format=path.suffix[1:], bbox_inches='tight')
        except ValueError as error:
            raise EnetError(f'cannot draw {path}: {error}') from error

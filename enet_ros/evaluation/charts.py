"""Draw results as charts. The suffix of the path chooses the format: png, svg or pdf.

matplotlib is optional and slow to import, so it is imported when a chart is drawn. Only `Figure` is used: unlike pyplot, it
has no global state and needs no display.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, one_line
from enet_ros.files import replacing
from enet_ros.network.slopes import Slopes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

BLUE, GREY = '#1f5fa8', '#8c8c8c'
POINTS = 72  # per inch


@dataclass(frozen=True)
class Curves:
    """The metrics of one training stage as pairs of epoch and value. Epochs count from 1 in every stage."""

    name: str
    loss: Sequence[tuple[int, float]]
    mean_iou: Sequence[tuple[int, float]]
    """On the validation samples, 0 to 1; some epochs may be missing."""
    learning_rate: Sequence[tuple[int, float]]


def has_matplotlib() -> bool:
    """Return whether charts can be drawn."""
    return find_spec('matplotlib') is not None


def draw_if_possible(path: Path, draw: Callable[[Path], None]) -> None:
    """Draw a chart to `path`. Without matplotlib, log a warning that names the missing chart instead.

    Raises:
        EnetError: the file cannot be written.

    """
    if has_matplotlib():
        draw(path)
    else:
        log.warning('%s is not drawn: matplotlib is not installed; pip install matplotlib', path)


def draw_confusion(path: Path, names: Sequence[str], confusion: NDArray[np.int64]) -> None:
    """Draw a confusion matrix of `metrics.confusion_matrix`. Each row is in percent of the pixels of its true class.

    The row of a class without pixels is empty. The column void is drawn if any pixel was predicted void.

    Raises:
        EnetError: matplotlib is missing, or the file cannot be written.

    """
    columns = [*names, 'void'] if confusion[:, -1].any() else list(names)
    pixels = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, pixels, out=np.full(confusion.shape, np.nan), where=pixels > 0)[:, : len(columns)]
    cell = min(0.5, 15 / len(names))  # inches; many classes get smaller cells, not a larger chart
    figure = _figure(cell * len(columns), cell * len(names))
    axes = figure.add_axes((0, 0, 1, 1))
    # with the square root, confusions of a few percent remain visible next to hits of ninety
    axes.pcolormesh(np.sqrt(np.ma.masked_invalid(shares)), cmap='Blues', vmin=0, vmax=1, edgecolors='white', linewidth=0.8)
    size = 0.3 * cell * POINTS
    if size >= 5:  # smaller text is not readable
        for row, column in zip(*np.nonzero(shares >= 0.005)):
            share = shares[row, column]
            axes.text(column + 0.5, row + 0.5, f'{100 * share:.0f}', size=size, ha='center', va='center',
                      color='white' if share > 0.4 else 'black')
    size = min(10, 0.8 * cell * POINTS)
    # parse_math=False: a dollar sign in a name does not start a formula
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, size=size, rotation=45, ha='right', rotation_mode='anchor',
                    parse_math=False)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, size=size, parse_math=False)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel='predicted', ylabel='true class', title="percent of each true class's pixels")
    _save(figure, path)


def draw_slopes(path: Path, slopes: Sequence[Slopes]) -> None:
    """Draw the figure of `slopes_figure`.

    Raises:
        EnetError: there are no slopes, matplotlib is missing, or the file cannot be written.

    """
    if not slopes:
        raise EnetError(f'cannot draw {path}: the network has no PReLU; use a model with PReLU')
    _save(slopes_figure(slopes), path)


def slopes_figure(slopes: Sequence[Slopes]) -> Figure:
    """Return the slopes of a network's PReLUs against depth, like Figure 3 of the paper.

    Dotted lines mark the PReLUs of the main branch, at the ends of blocks. A grey line marks the last PReLU of the encoder.
    """
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
    _hide_frame(axes)
    return figure


def draw_curves(path: Path, stages: Sequence[Curves]) -> None:
    """Draw the figure of `curves_figure`.

    Raises:
        EnetError: matplotlib is missing, or the file cannot be written.

    """
    _save(curves_figure(stages), path)


def curves_figure(stages: Sequence[Curves]) -> Figure:
    """Return loss, validation mean IoU and learning rate of a run against epoch, with its stages in sequence.

    Without validation samples, there is no panel for mean IoU.
    """
    labels = ['training loss', 'validation mean IoU in %', 'learning rate']
    if not any(stage.mean_iou for stage in stages):
        del labels[1]
    figure = _figure(10, 2.5 * len(labels))
    panels = figure.subplots(len(labels), sharex=True)
    first = 0
    for stage in stages:
        mean_iou = [(epoch, 100 * value) for epoch, value in stage.mean_iou]
        curves = (stage.loss, mean_iou, stage.learning_rate) if len(labels) == 3 else (stage.loss, stage.learning_rate)
        for axes, points in zip(panels, curves):
            # a single epoch is a point without a line
            axes.plot([first + epoch for epoch, _ in points], [value for _, value in points], color=BLUE, linewidth=1.4,
                      marker='o' if len(points) == 1 else None, markersize=4, clip_on=False)
            if first:
                axes.axvline(first, color=GREY, linewidth=0.7, linestyle=':')
        panels[0].annotate(stage.name, (first, 1), (3, 3), xycoords=('data', 'axes fraction'), textcoords='offset points',
                           color='#555555', parse_math=False)
        first += max((epoch for points in curves for epoch, _ in points), default=0)
    for axes, label in zip(panels, labels):
        axes.set_ylabel(label)
        axes.grid(axis='y', linewidth=0.4)
        _hide_frame(axes)
    panels[-1].ticklabel_format(axis='y', scilimits=(-2, 2))
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    panels[-1].set(xlabel='epoch', xlim=(0, max(first, 1)))
    figure.align_ylabels()
    return figure


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches."""
    if not has_matplotlib():
        raise EnetError('charts need matplotlib, which is not installed: pip install matplotlib')
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=150)


def _hide_frame(axes: Axes) -> None:
    """Hide the upper and the right side of the frame."""
    axes.spines[['top', 'right']].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, format=path.suffix[1:], bbox_inches='tight')
        except ValueError as error:
            raise EnetError(f'cannot draw {path}: {one_line(error)}') from error

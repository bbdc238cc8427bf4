"""The charts of report.html as Plotly figures.

Plotly reads a subset of HTML in all text. Foreign text, such as a class name, goes through `_plain` first.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

Chart = dict[str, Any]
"""A Plotly figure as JSON: `data` and `layout`. Colours of text and grid are left to the page, which knows its theme."""

FIRST, SECOND = '#3b8eea', '#e08a00'
"""Colours of data, readable on white and on black."""
AREA_INTERVALS = 200
"""A stacked area is drawn from the means of at most this many intervals."""
AREA_CLASSES = 20
"""A stacked area shows at most this many classes, those with the largest shares. The others are one area."""
_MAX_BINS = 80


def library() -> str:
    """Return the JavaScript of Plotly."""
    return str(get_plotlyjs())


def class_bars(classes: dict[str, dict[str, float | None]]) -> Chart:
    """Return IoU and accuracy of each class; `classes` is that of `Evaluation.summary`."""
    names = [_plain(name) for name in classes]
    figure = go.Figure()
    for title, key, color in (('IoU', 'iou', FIRST), ('accuracy', 'accuracy', SECOND)):
        figure.add_bar(
            name=title, y=names, x=[values[key] for values in classes.values()], orientation='h', marker_color=color,
            texttemplate='%{x:.3f}', textposition='outside', cliponaxis=False,
            hovertemplate='%{y}: %{fullData.name} %{x:.4f}<extra></extra>',
        )
    figure.update_xaxes(range=[0, 1.08], tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1], fixedrange=True)
    figure.update_yaxes(type='category', autorange='reversed', automargin=True, fixedrange=True)
    return _chart(figure, 90 + 46 * len(names), bargap=0.25, legend_traceorder='normal')


def time_series(
    seconds: Sequence[float], series: Sequence[tuple[str, Sequence[float | None]]], marked: Sequence[tuple[int, int]],
    limit: int,
) -> Chart:
    """Return one line below the other over the time of a bag.

    `series` are titles and values by frame; frames without a value are skipped. A line of more than `limit` points is
    thinned by `extremes`. `marked` are frames with pictures: their index in the series and the number of the picture, drawn
    on the first line.
    """
    times = np.array(seconds, np.float32)
    figure = make_subplots(rows=len(series), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    for row, (title, values) in enumerate(series, 1):
        column = np.array(values, np.float32)  # None becomes NaN
        known = np.flatnonzero(~np.isnan(column))
        shown = known[extremes(column[known], limit)]
        figure.add_scatter(
            name=title, x=times[shown], y=column[shown], customdata=shown,
            mode='lines+markers' if len(shown) <= 200 else 'lines',
            line={'width': 1.5, 'color': FIRST}, marker_size=4, showlegend=False, row=row, col=1,
            hovertemplate='%{x:.2f} s, frame %{customdata} of the bag: %{y:.4~f}<extra></extra>',
        )
        figure.update_yaxes(title_text=title, rangemode='tozero', title_standoff=4, row=row, col=1)
    places = [(index, picture) for index, picture in marked if series and series[0][1][index] is not None]
    if places:
        indices = [index for index, _ in places]
        figure.add_scatter(
            name='picture below', x=times[indices], y=[series[0][1][index] for index in indices], mode='markers',
            customdata=[picture for _, picture in places], meta='pictures', showlegend=False, row=1, col=1,
            marker={'size': 10, 'symbol': 'circle-open', 'color': SECOND, 'line': {'width': 2}},
            hovertemplate='%{x:.2f} s: %{y:.4f}, click to show the picture<extra></extra>',
        )
    figure.update_xaxes(title_text='time in the bag, s', row=len(series), col=1)
    return _chart(figure, 70 + 150 * len(series), margin_t=30)


def extremes(values: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Return the indices to draw of a line: all, or the lowest and the highest of each of limit / 2 groups of neighbours."""
    if len(values) <= limit:
        return np.arange(len(values))
    groups = np.array_split(np.arange(len(values)), limit // 2)
    return np.unique([group[pick(values[group])] for group in groups for pick in (np.argmin, np.argmax)])


def intervals(count: int, most: int) -> list[NDArray[np.int64]]:
    """Return the indices of `count` frames in at most `most` groups of neighbours, of one length except for the last."""
    length = max(1, -(-count // most))
    return [np.arange(first, min(first + length, count)) for first in range(0, count, length)]


def class_areas(
    seconds: Sequence[float], shares: Sequence[Sequence[float]], names: Sequence[str], colors: Sequence[Sequence[int]],
) -> Chart:
    """Return the share of the pixels of each class over the time of a bag. `shares` is frames x classes."""
    groups = intervals(len(seconds), AREA_INTERVALS)
    times, table = np.array(seconds), np.array(shares)
    x = np.array([times[group].mean() for group in groups], np.float32)
    means = np.array([table[group].mean(0) for group in groups], np.float32)
    order = np.argsort(-means.mean(0), kind='stable')
    areas = [(names[index], colors[index], means[:, index]) for index in np.sort(order[:AREA_CLASSES]).tolist()]
    if others := order[AREA_CLASSES:].tolist():
        areas.append((f'{len(others)} other classes', (128, 128, 128), means[:, others].sum(1)))
    figure = go.Figure()
    for name, color, values in areas:
        figure.add_scatter(
            name=_plain(name), x=x, y=values, stackgroup='classes', mode='lines', line={'width': 0},
            fillcolor='rgb({}, {}, {})'.format(*color), hovertemplate='%{fullData.name}: %{y:.3f}<extra></extra>',
        )
    figure.update_xaxes(title_text='time in the bag, s')
    figure.update_yaxes(title_text='share of the pixels', range=[0, 1], fixedrange=True)
    return _chart(figure, 380, legend={'traceorder': 'normal'})


def latency_histogram(milliseconds: Sequence[float], marks: dict[str, float], most: float) -> Chart:
    """Return how many frames took how long, up to `most` ms, with a line for each of `marks`."""
    values = np.array(milliseconds)
    values = values[values <= most]
    bins = min(_MAX_BINS, len(np.histogram_bin_edges(values, 'auto')) - 1)
    counts, edges = np.histogram(values, bins)
    figure = go.Figure()
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), marker_color=FIRST,
        customdata=np.stack([edges[:-1], edges[1:]], 1),
        hovertemplate='%{customdata[0]:.2f} to %{customdata[1]:.2f} ms: %{y} frames<extra></extra>',
    )
    for level, (name, value) in enumerate(marks.items()):
        if value <= most:
            figure.add_vline(
                value, line={'color': SECOND, 'width': 1.5, 'dash': 'dash'}, annotation_text=name, annotation_yref='paper',
                annotation_y=1.0 - 0.09 * level, annotation_xanchor='left', annotation_yanchor='top',
            )
    figure.update_xaxes(title_text='latency in ms')
    figure.update_yaxes(title_text='frames', rangemode='tozero', fixedrange=True)
    return _chart(figure, 320, bargap=0, margin_t=30)


def confidence_histogram(counts: Sequence[int]) -> Chart:
    """Return the share of the pixels by confidence; `counts` are those of confidence 0, 1/255, ... 1."""
    figure = go.Figure()
    total = max(1, sum(counts))
    figure.add_bar(
        x=np.arange(len(counts), dtype=np.float32) / (len(counts) - 1), y=np.array(counts, np.float64) / total,
        marker_color=FIRST,
        hovertemplate='confidence %{x:.3f}: %{y:.4f} of the pixels<extra></extra>',
    )
    figure.update_xaxes(title_text='confidence')
    figure.update_yaxes(title_text='share of the pixels', type='log', exponentformat='power', fixedrange=True)
    return _chart(figure, 300, bargap=0, margin_t=30)


def _plain(text: str) -> str:
    return html.escape(text, quote=False)


def _chart(figure: go.Figure, height: int, **layout: Any) -> Chart:  # noqa: ANN401 - options of Plotly
    figure.update_layout(template='none', height=height, paper_bgcolor='rgba(0,0,0,0)', plot_bgcolor='rgba(0,0,0,0)')
    figure.update_layout(margin={'l': 64, 'r': 16, 't': 40, 'b': 48}, hovermode='closest', dragmode='zoom')
    figure.update_layout(legend={'orientation': 'h', 'y': 1, 'yanchor': 'bottom', 'x': 0})
    figure.update_layout(**layout)
    chart: Chart = json.loads(figure.to_json())
    return chart

"""A report as one self-contained HTML page: it opens from disk and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from enet_ros.errors import EnetError
from enet_ros.replay.page_confusion import ConfusionTable, confusion_table
from enet_ros.replay.page_pictures import BagPictures, choose_pictures, frame_span, picture_bytes
from enet_ros.replay.page_summary import Report, change_verdict, changes, key_figures, latencies, notes, seen_images

PAGE_BYTES = 15_000_000
"""Pictures are left out until a page is smaller."""
LINE_POINTS = 6000
"""Points of each line over time, of all bags together. A bag has at least `MIN_LINE_POINTS`."""
MIN_LINE_POINTS = 200
TABLE_INTERVALS = 40
"""The table behind the charts over time has at most this many rows for a bag."""
_PACKAGES = {'jinja2': 'Jinja2', 'plotly': 'plotly'}


def check_page_packages() -> None:
    """Check that `render_page` can run. Call it before long work whose result it shows.

    Raises:
        EnetError: Jinja2 or plotly is not installed.

    """
    if missing := [package for module, package in _PACKAGES.items() if find_spec(module) is None]:
        raise EnetError(f'report.html needs {" and ".join(missing)}: pip install {" ".join(missing)}')


def render_page(report: Report, pictures: Sequence[BagPictures]) -> str:
    """Return the page of `report`.

    Args:
        report: The content of report.json.
        pictures: Pictures of each of `report['bags']`. What does not fit is left out, and the page says so.

    Raises:
        EnetError: Jinja2 or plotly is missing.

    """
    check_page_packages()
    shown, left_out = choose_pictures(report, pictures)
    page = _render(report, shown, left_out)
    while shown and (excess := len(page.encode('utf-8', 'replace')) - PAGE_BYTES) >= 0:
        shown, left_out = choose_pictures(report, pictures, picture_bytes(shown) - excess - 1)
        page = _render(report, shown, left_out)
    return page


def _render(report: Report, shown: list[dict[str, Any]], left_out: int) -> str:
    import jinja2  # it and plotly are slow to import, and only pages need them
    import markupsafe

    from enet_ros.replay import page_charts

    loader = jinja2.FileSystemLoader(Path(__file__).parent / 'templates')
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters['flat'] = _flat
    environment.globals['change_verdict'] = change_verdict
    charts, bags = _charts_of_bags(report, shown)
    charts |= _charts_of_all(report)
    confusion = confusion_table(report)
    data = {'charts': charts, 'pictures': shown, 'confusion': confusion and confusion.cells,
            'frames': _listed_frames(report, confusion), 'bags': len(report['bags'])}
    return environment.get_template('report.html.j2').render(
        report=report, seen_images=seen_images(report), notes=list(notes(report)), key_figures=key_figures(report),
        changes=changes(report), bags=bags, charts=charts, confusion=confusion, pictures=shown, pictures_left_out=left_out,
        hidden_latencies=_hidden(report), area_intervals=page_charts.AREA_INTERVALS, area_classes=page_charts.AREA_CLASSES,
        confidence_tenths=_tenths(report), data=data,
        library=markupsafe.Markup(page_charts.library()),
    )


def _charts_of_all(report: Report) -> dict[str, Any]:
    """Return the charts that are about all bags, by the id of their place."""
    from enet_ros.replay import page_charts

    charts = {}
    if pooled := report['metrics']['pooled']:
        charts['classes'] = page_charts.class_bars(pooled['classes'])
    if values := latencies(report):
        marks = {name: report['timing']['latency_ms'][name] for name in ('p50', 'p90', 'p99')}
        charts['latency'] = page_charts.latency_histogram(values, marks, _latency_limit(report))
    if confidence := report['metrics']['confidence']:
        charts['confidence'] = page_charts.confidence_histogram(confidence['histogram'])
    return charts


def _charts_of_bags(report: Report, pictures: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the charts over time by the id of their place, and what the page shows beside those of each bag."""
    from enet_ros.replay import page_charts

    frames, charts, bags = report['frames'], {}, []
    limit = max(MIN_LINE_POINTS, LINE_POINTS // max(1, len(report['bags'])))
    columns = [('mean IoU', frames['mean_iou']), ('confidence', frames['confidence']), ('label flips', frames['flips']),
               ('latency, ms', report['timing']['frames_ms'])]
    for number, bag in enumerate(report['bags']):
        indices = range(*frame_span(frames['bag'], number))
        seconds = [frames['seconds'][index] for index in indices]
        series = [(title, [column[index] for index in indices]) for title, column in columns]
        known = [(title, values) for title, values in series if any(value is not None for value in values)]
        marked = [(picture['frame'] - indices[0], place) for place, picture in enumerate(pictures)
                  if picture['frame'] in indices]
        if known:
            charts[f'time-{number}'] = page_charts.time_series(seconds, known, marked, limit)
        if indices:
            charts[f'share-{number}'] = page_charts.class_areas(
                seconds, [frames['class_share'][index] for index in indices], report['model']['classes'],
                report['model']['colors'])
        bags.append({
            'name': bag['name'], 'frames': len(indices), 'marked': bool(marked and known),
            'titles': [title for title, _ in known],
            'missing': [title for title, values in series if (title, values) not in known],
            'thinned': limit if len(indices) > limit else 0, 'intervals': list(_intervals(seconds, known)),
        })
    return charts, bags


def _intervals(seconds: Sequence[float], series: Sequence[tuple[str, Sequence[float | None]]]) -> Iterator[dict[str, Any]]:
    """Yield the means of intervals with the same number of frames."""
    from enet_ros.replay import page_charts

    columns = [np.array(values, float) for _, values in series]  # None becomes NaN
    for group in page_charts.intervals(len(seconds), TABLE_INTERVALS):
        values = [column[group][~np.isnan(column[group])] for column in columns]
        yield {'start': seconds[group[0]], 'end': seconds[group[-1]], 'frames': len(group),
               'means': [float(known.mean()) if known.size else None for known in values]}


def _latency_limit(report: Report) -> float:
    """Return where the histogram ends: one stalled frame must not squeeze all others into one bar."""
    summary = report['timing']['latency_ms']
    return float(min(summary['max'], 2 * summary['p99']))


def _hidden(report: Report) -> tuple[int, float]:
    """Return how many frames are beyond the end of the latency histogram, and where it ends in ms."""
    values = latencies(report)
    limit = _latency_limit(report) if values else 0.0
    return sum(value > limit for value in values), limit


def _tenths(report: Report) -> list[tuple[float, float, float]]:
    """Return the share of the pixels in each tenth of the confidence: from, to, share."""
    counts = np.array((report['metrics']['confidence'] or {'histogram': []})['histogram'])
    edges = np.linspace(0, 1, 11)
    sums, _ = np.histogram(np.linspace(0, 1, len(counts)), edges, weights=counts)
    shares = sums / max(1, counts.sum())
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist()))


def _listed_frames(report: Report, confusion: ConfusionTable | None) -> dict[int, dict[str, Any]]:
    """Return the frames that the cells of the confusion matrix list."""
    frames, rows = report['frames'], confusion.rows if confusion else []
    return {index: {'name': frames['name'][index], 'bag': report['bags'][frames['bag'][index]]['name'],
                    'seconds': frames['seconds'][index], 'mean_iou': frames['mean_iou'][index]}
            for row in rows for cell in row for index, _ in cell.frames}


def _flat(value: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Yield the leaves of nested dicts with their keys joined."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f'{prefix} {key}'.strip())
    else:
        yield prefix, value

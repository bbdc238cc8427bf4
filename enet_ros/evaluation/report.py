"""Write an evaluation as a folder of files: figures for programs, a table and a chart for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enet_ros.evaluation.charts import draw_confusion, draw_if_possible
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.files import replacing, write_json

REPORT_FILES = ('report.json', 'table.md', 'confusion.png')


def results(evaluation: Evaluation, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return `details`, the metrics and the confusion matrix, ready for JSON."""
    return {**details, **evaluation.summary(), 'confusion': evaluation.confusion.tolist()}


def write_report(folder: Path, heading: str, evaluation: Evaluation, details: Mapping[str, Any]) -> None:
    """Write report.json, table.md with `heading`, and confusion.png to `folder`.

    Without matplotlib there is no confusion.png. A warning says so.

    Raises:
        EnetError: a file cannot be written.

    """
    figures, table, chart = (folder / name for name in REPORT_FILES)
    write_json(figures, results(evaluation, details))
    with replacing(table) as temporary:
        temporary.write_text(f'{heading}\n\n{evaluation.markdown()}\n', encoding='utf-8')
    draw_if_possible(chart, lambda path: draw_confusion(path, evaluation.labels.names, evaluation.confusion))

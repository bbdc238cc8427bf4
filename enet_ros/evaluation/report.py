"""An evaluation as a folder of files: figures for machines, a table and a picture for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enet_ros.evaluation.charts import draw_confusion
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.files import replacing, write_json

REPORT_FILES = ('report.json', 'table.md', 'confusion.png')


def results(evaluation: Evaluation, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return `details`, the metrics and the confusion matrix, ready for JSON."""
    return {**details, **evaluation.summary(), 'confusion': evaluation.confusion.tolist()}


def write_report(folder: Path, heading: str, evaluation: Evaluation, details: Mapping[str, Any]) -> None:
    """Write report.json, table.md under `heading`, and confusion.png into `folder`.

    Raises:
        EnetError: matplotlib is missing, or a file cannot be written.

    """
    figures, table, picture = (folder / name for name in REPORT_FILES)
    write_json(figures, results(evaluation, details))
    with replacing(table) as temporary:
        temporary.write_text(f'{heading}\n\n{evaluation.markdown()}\n', encoding='utf-8')
    draw_confusion(picture, evaluation.labels.names, evaluation.confusion)

"""An evaluation as a folder of files: figures for machines, a table and a picture for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enet_ros.charts import draw_confusion
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.files import replacing, write_json


def results(evaluation: Evaluation, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return `details`, the metrics and the confusion matrix, ready for JSON."""
    return {**details, **evaluation.summary(), 'confusion': evaluation.confusion.tolist()}


def write_report(folder: Path, heading: str, evaluation: Evaluation, details: Mapping[str, Any]) -> None:
    """Write report.json, table.md under `heading`, and confusion.png into `folder`.

    Raises:
        EnetError: matplotlib is missing, or a file cannot be written.

    """
    write_json(folder / 'report.json', results(evaluation, details))
    with replacing(folder / 'table.md') as temporary:
        temporary.write_text(f'{heading}\n\n{evaluation.markdown()}\n', encoding='utf-8')
    draw_confusion(folder / 'confusion.png', evaluation.labels.names, evaluation.confusion)

"""Read the metrics that a stage logged for each epoch."""

from __future__ import annotations

import csv
from pathlib import Path

from enet_ros.evaluation.charts import Curves


def read_history(folder: Path) -> Curves:
    """Read all logs of a stage from its folder. There is one for each time the stage was started or resumed."""
    figures: dict[str, dict[int, float]] = {'loss': {}, 'val_mean_iou': {}, 'learning_rate': {}}
    logs = folder.glob('log/version_*/metrics.csv')
    for log in sorted(logs, key=lambda path: int(path.parent.name.removeprefix('version_'))):
        with log.open(encoding='utf-8', newline='') as file:
            for row in csv.DictReader(file):
                for name, values in figures.items():
                    if row.get(name):
                        values[int(row['epoch']) + 1] = float(row[name])  # a repeated epoch replaces the first one
    loss, mean_iou, learning_rate = (sorted(values.items()) for values in figures.values())
    return Curves(folder.name, loss, mean_iou, learning_rate)

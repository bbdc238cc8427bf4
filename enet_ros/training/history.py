"""Read the metrics that a stage logged for each epoch."""

from __future__ import annotations

import csv
from pathlib import Path

from enet_ros.errors import TrainingError, one_line
from enet_ros.evaluation.charts import Curves


def read_history(folder: Path) -> Curves:
    """Read all logs of a stage from its folder, log/version_N. There is one for each time the stage was started or resumed.

    Raises:
        TrainingError: a log is damaged.

    """
    figures: dict[str, dict[int, float]] = {'loss': {}, 'val_mean_iou': {}, 'learning_rate': {}}
    logs = {int(number): log for log in folder.glob('log/version_*/metrics.csv')
            if (number := log.parent.name.removeprefix('version_')).isdecimal() and number.isascii()}
    for _, log in sorted(logs.items()):
        try:
            with log.open(encoding='utf-8', newline='') as file:
                for row in csv.DictReader(file):
                    for name, values in figures.items():
                        if row.get(name):
                            values[int(row['epoch']) + 1] = float(row[name])  # a repeated epoch replaces the first one
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise TrainingError(f'cannot read {log}: {one_line(error)}; remove it and add --resume to draw the curves '
                                'without it') from error
    loss, mean_iou, learning_rate = (sorted(values.items()) for values in figures.values())
    return Curves(folder.name, loss, mean_iou, learning_rate)

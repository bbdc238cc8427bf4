"""The confusion matrix as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from enet_ros.replay.page_summary import Report

MAX_CLASSES = 40
"""A matrix with more classes shows those with the most pixels, true or predicted."""
TOP = 10
"""The largest confusions have a list of their own."""


@dataclass(frozen=True)
class Cell:
    """One pair of true and predicted class."""

    true: str
    predicted: str
    pixels: int
    share: float | None
    """Of the pixels of the true class; None if it has none."""
    right: bool
    frames: list[list[int]]
    """Index of a frame and its pixels, largest first."""


@dataclass(frozen=True)
class ConfusionTable:
    """Rows of cells. The last column is for pixels predicted void, if there are any."""

    columns: list[str]
    rows: list[list[Cell]]
    classes: int
    """Classes of the model; `rows` may be fewer."""

    @property
    def cells(self) -> list[list[dict[str, Any]]]:
        """Return the cells, ready for JSON."""
        return [[vars(cell) for cell in row] for row in self.rows]

    @property
    def largest(self) -> list[tuple[int, int, Cell]]:
        """Return row, column and cell of the confusions with the most pixels."""
        cells = [(row, column, cell) for row, cells in enumerate(self.rows) for column, cell in enumerate(cells)
                 if not cell.right and cell.pixels]
        return sorted(cells, key=lambda place: -place[2].pixels)[:TOP]


def confusion_table(report: Report) -> ConfusionTable | None:
    """Return the confusion matrix of `report`; None without ground truth."""
    if not report['metrics']['confusion']:
        return None
    matrix, names = np.array(report['metrics']['confusion'], np.int64), [*report['model']['classes'], 'void']
    totals = matrix.sum(1)
    order = np.sort(np.argsort(-(totals + matrix.sum(0)[:-1]), kind='stable')[:MAX_CLASSES]).tolist()
    columns = [*order, *([len(matrix)] if matrix[:, -1].any() else [])]
    listed = report['metrics']['confusion_frames']
    frames = {(entry['true'], entry['predicted']): entry['frames'] for entry in listed}

    def cell(row: int, column: int) -> Cell:
        pixels = int(matrix[row, column])
        return Cell(names[row], names[column], pixels, pixels / int(totals[row]) if totals[row] else None, row == column,
                    frames.get((row, column), []))

    rows = [[cell(row, column) for column in columns] for row in order]
    return ConfusionTable([names[column] for column in columns], rows, len(matrix))

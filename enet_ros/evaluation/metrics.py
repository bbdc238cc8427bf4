"""The paper's metrics as pure functions of a confusion matrix.

A confusion matrix is classes x (classes + 1), int64: row = true class, column = predicted class. The last column counts
pixels predicted void. Pixels that are void in the ground truth are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enet_ros.labels import VOID


def confusion_matrix(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix of `predicted` against `truth`: class ids, uint8, 255 = void, both of the same shape.

    Raises:
        ValueError: the shapes differ, or an id is neither a class nor void.

    """
    if truth.shape != predicted.shape:
        raise ValueError(f'labels have shape {predicted.shape}, ground truth has {truth.shape}: must be the same')
    pairs = truth.astype(np.uint16) << 8 | predicted  # one number for each pair: one pass over the pixels
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)[:VOID]
    for pixels in (counts.sum(1), counts.sum(0)[:VOID]):
        if (wrong := np.flatnonzero(pixels[classes:])).size:
            raise ValueError(f'label id {classes + wrong[-1]} is not one of {classes} classes')
    return counts[:classes, [*range(classes), VOID]]


def class_iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class, 0 to 1; NaN for a class neither true nor predicted anywhere."""
    hits, truth, predicted = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)[:-1]
    with np.errstate(invalid='ignore'):
        return hits / (truth + predicted - hits)


def class_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of correct pixels of each true class, 0 to 1; NaN for a class without pixels."""
    with np.errstate(invalid='ignore'):
        return np.diagonal(confusion) / confusion.sum(1)


def mean_iou(confusion: NDArray[np.int64]) -> float | None:
    """Return the mean of `class_iou` over the classes that have one; None if no pixel was counted."""
    return _mean(class_iou(confusion))


def class_average(confusion: NDArray[np.int64]) -> float | None:
    """Return the mean of `class_accuracy` over the classes that have one; None if no pixel was counted."""
    return _mean(class_accuracy(confusion))


def global_accuracy(confusion: NDArray[np.int64]) -> float | None:
    """Return the share of correct pixels, 0 to 1; None if no pixel was counted."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else None


def merge_classes(confusion: NDArray[np.int64], groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the confusion matrix, groups x (groups + 1), in which each group of class ids is one class."""
    columns = (*groups, (len(confusion),))  # void stays void
    return np.array([[confusion[np.ix_(row, column)].sum() for column in columns] for row in groups])


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None

"""Hold a segmenter against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from enet_ros.datasets.prepared import Dataset, DatasetError, Sample
from enet_ros.labels import LabelSet
from enet_ros.metrics import (
    class_accuracy,
    class_average,
    class_iou,
    confusion_matrix,
    global_accuracy,
    mean_iou,
)
from enet_ros.segmenter import Segmenter


@dataclass(frozen=True)
class Evaluation:
    """What was counted over a set of images."""

    labels: LabelSet
    images: int
    confusion: NDArray[np.int64]
    """As `metrics.confusion_matrix` gives it."""

    def summary(self) -> dict[str, Any]:
        """Return the paper's metrics as fractions, 0 to 1, None where nothing was there to count; ready for JSON."""
        values = zip(self.labels.names, class_iou(self.confusion).tolist(), class_accuracy(self.confusion).tolist())
        return {
            'images': self.images,
            'mean_iou': mean_iou(self.confusion),
            'class_average': class_average(self.confusion),
            'global_accuracy': global_accuracy(self.confusion),
            'classes': {
                name: {'iou': None if iou != iou else iou, 'accuracy': None if accuracy != accuracy else accuracy}
                for name, iou, accuracy in values
            },
        }

    def table(self) -> str:
        """Return the metrics as lines for a terminal, in percent."""
        summary = self.summary()
        width = max(len(name) for name in (*self.labels.names, 'class average'))

        def percent(value: float | None) -> str:
            return f'{100 * value:6.1f}' if value is not None else '     -'

        lines = [f'{"class":<{width}}    IoU  accuracy']
        lines += [
            f'{name:<{width}} {percent(values["iou"])}    {percent(values["accuracy"])}'
            for name, values in summary['classes'].items()
        ]
        lines += [
            f'{"mean IoU":<{width}} {percent(summary["mean_iou"])}',
            f'{"class average":<{width}}           {percent(summary["class_average"])}',
            f'{"global":<{width}}           {percent(summary["global_accuracy"])}',
        ]
        return '\n'.join(lines)


def check_labels(segmenter: Segmenter, dataset: Dataset) -> None:
    """Refuse a dataset whose class ids mean something else to the model.

    Raises:
        DatasetError: the class names differ.

    """
    if segmenter.labels.names != dataset.labels.names:
        raise DatasetError(
            f'the model {segmenter.model.path} tells {len(segmenter.labels)} classes apart '
            f'({", ".join(segmenter.labels.names[:3])}, ...), the dataset {dataset.root} has {len(dataset.labels)} '
            f'({", ".join(dataset.labels.names[:3])}, ...): evaluate on a dataset with the classes it was trained on'
        )


def evaluate(segmenter: Segmenter, samples: Sequence[Sample]) -> Evaluation:
    """Segment every sample and count its pixels against its labels.

    Raises:
        EnetError: a file cannot be read, or its labels hold an id that is no class.

    """
    classes = len(segmenter.labels)
    confusion = np.zeros((classes, classes + 1), np.int64)
    for sample in tqdm(samples, desc='evaluating', unit='image'):
        image, truth = sample.read()
        try:
            confusion += confusion_matrix(truth, segmenter.segment(image, 'bgr'), classes)
        except ValueError as error:
            raise DatasetError(f'{sample.labels_path}: {error}') from error
    return Evaluation(segmenter.labels, len(samples), confusion)

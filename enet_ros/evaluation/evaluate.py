"""Measure predicted labels against ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from enet_ros.datasets.prepared import Dataset, Sample
from enet_ros.datasets.splitting import is_held_out
from enet_ros.errors import DatasetError
from enet_ros.evaluation.metrics import (
    class_accuracy,
    class_average,
    class_iou,
    confusion_matrix,
    global_accuracy,
    mean_iou,
    merge_classes,
)
from enet_ros.labels import CITYSCAPES, CITYSCAPES_CATEGORIES, LabelSet
from enet_ros.network.model_file import ModelInfo
from enet_ros.segmenter import Segmenter


@dataclass(frozen=True)
class Evaluation:
    """The counted pixels of a set of images, and the metrics computed from them."""

    labels: LabelSet
    images: int
    confusion: NDArray[np.int64]
    """Sum of the matrices of `metrics.confusion_matrix`."""

    def summary(self) -> dict[str, Any]:
        """Return the paper's metrics as fractions, 0 to 1, ready for JSON. None = no pixels to count.

        For the classes of Cityscapes, include the IoU of its categories.
        """
        ious, accuracies = _fractions(class_iou(self.confusion)), _fractions(class_accuracy(self.confusion))
        summary: dict[str, Any] = {
            'images': self.images,
            'mean_iou': mean_iou(self.confusion),
            'class_average': class_average(self.confusion),
            'global_accuracy': global_accuracy(self.confusion),
            'classes': {
                name: {'iou': iou, 'accuracy': accuracy}
                for name, iou, accuracy in zip(self.labels.names, ious, accuracies)
            },
        }
        if self.labels.names == CITYSCAPES.names:
            groups = [[self.labels.names.index(name) for name in names] for names in CITYSCAPES_CATEGORIES.values()]
            merged = merge_classes(self.confusion, groups)
            summary['mean_category_iou'] = mean_iou(merged)
            summary['categories'] = dict(zip(CITYSCAPES_CATEGORIES, _fractions(class_iou(merged))))
        return summary

    def table(self) -> str:
        """Return the metrics in percent as a table for a terminal."""
        rows = self._rows()
        width = max(len(name) for name, _, _ in rows)
        return '\n'.join(f'{name:<{width}} {iou:>6}  {accuracy:>8}'.rstrip() for name, iou, accuracy in rows)

    def markdown(self) -> str:
        """Return the metrics in percent as a Markdown table."""
        heading, *rows = (' | '.join(cell.replace('|', r'\|') for cell in row) for row in self._rows())
        return '\n'.join(f'| {row} |' for row in (heading, '--- | ---: | ---:', *rows))

    def _rows(self) -> list[tuple[str, str, str]]:
        """Return a heading, then rows of name, IoU and accuracy in percent. '-' = no pixels, '' = no such metric."""
        summary = self.summary()
        rows = [('class', 'IoU', 'accuracy')]
        rows += [
            (name, _percent(values['iou']), _percent(values['accuracy']))
            for name, values in summary['classes'].items()
        ]
        rows += [
            ('mean IoU', _percent(summary['mean_iou']), ''),
            ('class average', '', _percent(summary['class_average'])),
            ('global', '', _percent(summary['global_accuracy'])),
        ]
        if 'categories' in summary:
            rows += [(f'category {name}', _percent(iou), '') for name, iou in summary['categories'].items()]
            rows.append(('mean category IoU', _percent(summary['mean_category_iou']), ''))
        return rows


def _fractions(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _percent(value: float | None) -> str:
    return f'{100 * value:.1f}' if value is not None else '-'


def check_labels(segmenter: Segmenter, dataset: Dataset) -> None:
    """Check that class ids mean the same in a model and in a dataset.

    Raises:
        DatasetError: the class names or their order differ.

    """
    if difference := class_difference(segmenter.labels, dataset.labels):
        raise DatasetError(f'model {segmenter.model.path} and dataset {dataset.root} have different classes: {difference}; '
                           'use --model with a model trained on these classes')


def class_difference(model: LabelSet, dataset: LabelSet) -> str:
    """Return how the class names of a model and a dataset differ, for an error message; empty if they do not."""
    only = (('model', sorted(set(model.names) - set(dataset.names), key=model.names.index)),
            ('dataset', sorted(set(dataset.names) - set(model.names), key=dataset.names.index)))
    if parts := [f'only in the {owner}: {_some(names)}' for owner, names in only if names]:
        return '; '.join(parts)
    for number, (name, other) in enumerate(zip(model.names, dataset.names)):
        if name != other:
            return f'the order differs: id {number} is {name} in the model and {other} in the dataset'
    return ''


def _some(names: Sequence[str], limit: int = 6) -> str:
    """Return the first names as a list for an error message, with the number of the others."""
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')


def trained_on(info: ModelInfo, dataset: str, images: Iterable[tuple[str, str]]) -> bool:
    """Return whether a model, or a model that its training started with, was trained on any of some images.

    Args:
        info: Describes the model.
        dataset: Name of the dataset of the images.
        images: For each image, its split and its name without the ending, as `Sample.key` has them.

    """
    trainings = [(info.dataset, info.recipe), *((start['dataset'], start['recipe']) for start in info.lineage())]
    recipes = [recipe for name, recipe in trainings if name == dataset]
    return any(
        split in recipe.get('splits', ()) and not is_held_out(stem, recipe.get('hold_out', ()))
        for split, stem in images for recipe in recipes
    )


class Evaluator:
    """Count predicted labels against ground truth, one image at a time. Any loop can feed it."""

    def __init__(self, labels: LabelSet) -> None:
        """Count the classes of `labels`."""
        self.labels = labels
        self._images = 0
        self._confusion = np.zeros((len(labels), len(labels) + 1), np.int64)

    def update(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count one image. Both arrays are H x W class ids, uint8, 255 = void.

        Raises:
            ValueError: the shapes differ, or an id is neither a class nor void. Nothing is counted then.

        """
        self._confusion += confusion_matrix(truth, predicted, len(self.labels))
        self._images += 1

    def result(self) -> Evaluation:
        """Return what was counted so far. Later updates do not change it."""
        return Evaluation(self.labels, self._images, self._confusion.copy())


def evaluate(
    segmenter: Segmenter, samples: Sequence[Sample], keep: Callable[[str, NDArray[np.uint8]], None] | None = None
) -> Evaluation:
    """Segment every sample and count its pixels against its labels.

    `keep` is called with the name and the predicted labels (H x W class ids, uint8) of each sample.

    Raises:
        EnetError: a file cannot be read, its labels hold an id that is not a class, or all of them are void.

    """
    evaluator = Evaluator(segmenter.labels)
    for sample in tqdm(samples, desc='evaluating', unit='image'):
        image, truth = sample.read()
        predicted = segmenter.segment(image, 'bgr').labels
        try:
            evaluator.update(truth, predicted)
        except ValueError as error:
            raise DatasetError(f'{sample.labels_path}: {error}') from error
        if keep:
            keep(sample.stem, predicted)
    evaluation = evaluator.result()
    if not evaluation.confusion.any():
        raise DatasetError(f'all labels in {samples[0].labels_path.parent} are void: there is nothing to measure')
    return evaluation

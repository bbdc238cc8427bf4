from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from enet_ros.evaluation.metrics import (
    class_accuracy,
    class_average,
    class_iou,
    confusion_matrix,
    global_accuracy,
    mean_iou,
    merge_classes,
)
from enet_ros.labels import VOID


def test_metrics_of_an_example_counted_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, VOID, VOID]], np.uint8)
    predicted = np.array([[0, 0, 1, 1], [1, VOID, 0, 1]], np.uint8)
    confusion = confusion_matrix(truth, predicted, 3)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0]]
    # class 0: 2 hits, 3 true, 2 predicted; class 1: 2 hits, 3 true, 3 predicted; class 2 does not occur
    np.testing.assert_allclose(class_iou(confusion), [2 / 3, 2 / 4, np.nan])
    np.testing.assert_allclose(class_accuracy(confusion), [2 / 3, 2 / 3, np.nan])
    assert mean_iou(confusion) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert class_average(confusion) == pytest.approx(2 / 3)
    assert global_accuracy(confusion) == pytest.approx(4 / 6)


@pytest.mark.parametrize('classes', [1, 11, 255])
def test_a_confusion_matrix_is_that_of_torchmetrics(classes: int) -> None:
    random = np.random.default_rng(classes)
    ids = np.array([*range(classes), VOID], np.uint8)
    truth, predicted = random.choice(ids, (2, 60, 80))
    target, columns = (torch.from_numpy(labels.astype(np.int64)) for labels in (truth, predicted))
    columns[columns == VOID] = classes
    target[target == VOID] = -1
    expected = multiclass_confusion_matrix(columns, target, classes + 1, ignore_index=-1)[:classes]
    confusion = confusion_matrix(truth, predicted, classes)
    assert confusion.dtype == np.int64 and confusion.tolist() == expected.tolist()


def test_a_pixel_predicted_void_is_a_miss() -> None:
    truth = np.zeros((2, 2), np.uint8)
    predicted = np.array([[0, VOID], [VOID, VOID]], np.uint8)
    assert class_iou(confusion_matrix(truth, predicted, 1)).tolist() == [0.25]


def test_a_class_that_is_only_predicted_has_an_iou_of_zero() -> None:
    confusion = confusion_matrix(np.zeros((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2)
    assert class_iou(confusion).tolist() == [0.5, 0.0]


def test_without_labelled_pixels_there_are_no_metrics() -> None:
    confusion = confusion_matrix(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8), 2)
    assert mean_iou(confusion) is class_average(confusion) is global_accuracy(confusion) is None


def test_merged_classes_count_as_one_and_void_stays_a_miss() -> None:
    confusion = np.array([[5, 1, 2, 3], [4, 6, 0, 0], [7, 8, 9, 10]])
    merged = merge_classes(confusion, [[0, 2], [1]])
    assert merged.tolist() == [[5 + 2 + 7 + 9, 1 + 8, 3 + 10], [4 + 0, 6, 0]]
    assert merged.dtype == np.int64 and merge_classes(confusion, [[0], [1], [2]]).tolist() == confusion.tolist()


def test_ids_that_are_not_classes_and_different_shapes_are_refused() -> None:
    ids = np.full((2, 2), 7, np.uint8)
    with pytest.raises(ValueError, match=r'label id 7 .* 3 classes'):
        confusion_matrix(ids, np.zeros((2, 2), np.uint8), 3)
    with pytest.raises(ValueError, match=r'label id 7 .* 3 classes'):
        confusion_matrix(np.zeros((2, 2), np.uint8), ids, 3)
    with pytest.raises(ValueError, match=r'\(2, 3\)'):
        confusion_matrix(ids, np.zeros((2, 3), np.uint8), 8)

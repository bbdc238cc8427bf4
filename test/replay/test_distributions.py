from __future__ import annotations

import numpy as np
import pytest

from enet_ros.labels import VOID
from enet_ros.replay.distributions import class_share, confidence_histogram, mean_confidence


def test_the_shares_of_an_example_counted_by_hand() -> None:
    labels = np.array([[0, 0, 2, VOID], [0, 2, 0, VOID]], np.uint8)
    assert class_share(labels, 4).tolist() == [4 / 8, 0, 2 / 8, 0]  # void pixels are pixels, too


def test_a_confidence_histogram_is_that_of_numpy_without_void_pixels() -> None:
    random = np.random.default_rng(0)
    confidence = random.integers(0, 256, (50, 70), np.uint8)
    labels = random.choice(np.array([0, 1, VOID], np.uint8), (50, 70))
    histogram = confidence_histogram(confidence, labels)
    expected, _ = np.histogram(confidence[labels != VOID], 256, (0, 256))
    np.testing.assert_array_equal(histogram, expected)
    assert histogram.dtype == np.int64
    assert mean_confidence(histogram) == pytest.approx(confidence[labels != VOID].mean() / 255)


def test_mean_confidence_is_between_0_and_1_and_none_without_pixels() -> None:
    labels = np.zeros((3, 4), np.uint8)
    for value in (0, 255):
        assert mean_confidence(confidence_histogram(np.full((3, 4), value, np.uint8), labels)) == value / 255
    assert mean_confidence(np.zeros(256, np.int64)) is None

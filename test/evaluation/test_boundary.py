from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from enet_ros.evaluation.boundary import BOUNDARY_DISTANCE, near_boundary
from enet_ros.labels import VOID


def blobs(seed: int, classes: int = 4, height: int = 60, width: int = 90) -> NDArray[np.uint8]:
    """Return labels of irregular areas; the last class is void."""
    noise = gaussian_filter(np.random.default_rng(seed).random((classes + 1, height, width)), (0, 4, 4))
    labels = noise.argmax(0).astype(np.uint8)
    labels[labels == classes] = VOID
    return labels


def near_by_distance_transform(truth: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    near = np.zeros(truth.shape, bool)
    for label in set(truth.flat) - {VOID}:
        other = (truth != label) & (truth != VOID)
        if other.any():
            near |= (truth == label) & (distance_transform_edt(~other) <= distance)
    return near


@pytest.mark.parametrize('distance', [1, 2, 3, 5])
@pytest.mark.parametrize('seed', range(3))
def test_the_band_is_that_of_an_exact_distance_transform(seed: int, distance: int) -> None:
    truth = blobs(seed)
    near = near_boundary(truth, distance)
    assert 0.05 < near.mean() < 0.9
    np.testing.assert_array_equal(near, near_by_distance_transform(truth, distance))


def test_three_pixels_on_both_sides_of_an_edge_are_near_it() -> None:
    truth = np.zeros((4, 12), np.uint8)
    truth[:, 6:] = 1
    assert BOUNDARY_DISTANCE == 3
    assert near_boundary(truth).all(0).nonzero()[0].tolist() == [3, 4, 5, 6, 7, 8]


def test_distance_is_euclidean() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[4, 4] = 1
    near = near_boundary(truth)
    assert near[4, 7] and near[6, 6] and not near[7, 7] and not near[4, 8]
    assert near.sum() == 29  # the points with x**2 + y**2 <= 9


def test_void_makes_no_boundary_and_is_not_near_one() -> None:
    truth = np.zeros((5, 12), np.uint8)
    truth[:, 6:] = VOID
    assert not near_boundary(truth).any()
    truth[:, 8:] = 1  # two columns of void between the classes
    assert near_boundary(truth).all(0).nonzero()[0].tolist() == [5, 8]


def test_the_edge_of_the_image_and_a_single_class_make_no_boundary() -> None:
    assert not near_boundary(np.full((5, 7), 3, np.uint8)).any()
    assert not near_boundary(np.full((5, 7), VOID, np.uint8)).any()

from __future__ import annotations

import numpy as np
import pytest

from enet_ros.datasets.annotations import check_corners, class_id, portable_path
from enet_ros.errors import DatasetError


def test_a_class_that_the_classes_file_lacks_is_named_with_its_place() -> None:
    assert class_id('a.json', 'crate', {'box': 1, 'crate': 1}) == 1
    with pytest.raises(DatasetError, match=r'a.json.* "cat"'):
        class_id('a.json', 'cat', {'box': 1})


def test_corners_may_be_outside_the_image_but_not_far() -> None:
    check_corners(np.array([[-3.5, 2], [20, 9]]), (8, 10))
    for value in (1e9, -1e9, float('inf'), float('nan')):
        with pytest.raises(ValueError, match='far outside'):
            check_corners(np.array([[1, 2], [3, value]]), (8, 10))


@pytest.mark.parametrize('name', ['day/a.jpg', r'day\a.jpg'])
def test_paths_of_every_system_are_understood(name: str) -> None:
    assert portable_path(name).parts == ('day', 'a.jpg')

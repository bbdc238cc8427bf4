from __future__ import annotations

import numpy as np
import pytest

from enet_ros.datasets.annotations import check_corners, check_declared_size, class_id, long_name, portable_path
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


@pytest.mark.parametrize('name', [
    '', '.', '..', 'day/..', '/', 'x\0', 'x\ny', 'x\x9by', 'x' * 256, 'ä' * 128, 'x/' * 513, '\ud800',
], ids=['empty', 'dot', 'dots', 'folder', 'root', 'NUL', 'newline', 'escape', 'long', 'long in UTF-8', 'deep', 'not text'])
def test_what_cannot_be_the_path_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r'cannot be the path of a file|surrogates'):
        portable_path(name)


def test_long_names_hold_the_folders() -> None:
    assert long_name('day/a.b.jpg') == long_name(r'C:\day\a.b.jpg') == long_name('../day/a.b.jpg') == 'day_a.b'


@pytest.mark.parametrize('declared', [(10, 8), (8, 10.5), ('8', '10'), (None, 10), (8, 'x' * 9999)])
def test_a_declared_size_must_be_that_of_the_image(declared: tuple[object, object]) -> None:
    check_declared_size(8.0, 10, (8, 10))
    with pytest.raises(ValueError, match=r'^it is for an image of .*, but the image has 10x8 pixels$') as caught:
        check_declared_size(*declared, (8, 10))
    assert len(str(caught.value)) < 120

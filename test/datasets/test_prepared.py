from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID

Make = Callable[..., Dataset]


def test_a_missing_split_names_those_that_are_there(drawn_dataset: Make) -> None:
    with pytest.raises(DatasetError, match=r'choose a split of train, val'):
        drawn_dataset().samples('test')


def test_a_sample_whose_labels_are_of_another_size_is_refused(drawn_dataset: Make) -> None:
    sample = drawn_dataset().samples('val')[0]
    write_image(sample.labels_path, np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r'96x64 but its labels .* 8x8'):
        sample.read()


@pytest.mark.parametrize(('text', 'reason'), [
    ('names: [a', 'cannot read'),
    ('[]', 'is wrong'),
    ('{names: [a], colors: [[0, 0, 0]]}', "lacks 'name'"),
    ('{names: [a], colors: [], name: n, pixels: {}, source: s, license: l}', '0 colours for 1 classes'),
    ('{names: [a], colors: [[0, 0, 0]], name: n, pixels: {train: [1, 2]}, source: s, license: l}', 'must be 1 counts'),
], ids=['no YAML', 'no mapping', 'missing key', 'no color', 'counts'])
def test_a_wrong_dataset_yaml_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / 'dataset.yaml').write_text(text)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_dataset(tmp_path)
    assert '\n' not in str(caught.value)


def test_drawn_scenes_show_every_class_and_are_repeatable() -> None:
    seen = set()
    for number in range(60):
        seen |= set(np.unique(draw_scene(number)[1]).tolist())
    assert seen == set(range(len(CAMVID)))
    assert (draw_scene(7)[0] == draw_scene(7)[0]).all()
    assert cv2.absdiff(draw_scene(7)[0], draw_scene(8)[0]).any()

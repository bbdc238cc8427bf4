from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image

Make = Callable[..., Dataset]


def test_a_missing_split_is_an_error_that_names_the_others(drawn_dataset: Make) -> None:
    with pytest.raises(DatasetError, match=r'choose a split of train, val'):
        drawn_dataset().samples('test')


def test_labels_of_another_size_are_refused(drawn_dataset: Make) -> None:
    sample = drawn_dataset().samples('val')[0]
    write_image(sample.labels_path, np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r'96x64 but its labels .* 8x8'):
        sample.read()


@pytest.mark.parametrize(('text', 'reason'), [
    ('names: [a', 'cannot read'),
    ('[' * 5000, 'more than 100 levels'),
    ('[]', 'is not valid'),
    ('{names: [a], colors: [[0, 0, 0]], pixels: {}, name: 7, source: s, license: l}', 'name is 7 but must be text'),
    ('{names: [a], colors: [[0, 0, 0]]}', "lacks 'pixels'"),
    ('{names: [a], colors: [], name: n, pixels: {}, source: s, license: l}', '0 colours for 1 classes'),
    ('{names: [a], colors: [[0, 0, 0]], name: n, pixels: {train: [1, 2]}, source: s, license: l}', 'must be 1 counts'),
], ids=['not YAML', 'too deep', 'not keys', 'name', 'missing key', 'no colour', 'counts'])
def test_a_wrong_dataset_yaml_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / 'dataset.yaml').write_text(text)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_dataset(tmp_path)
    assert '\n' not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_dataset_yaml_with_mean_and_std_of_an_earlier_version_is_read(drawn_dataset: Make) -> None:
    dataset = drawn_dataset()
    with (dataset.root / 'dataset.yaml').open('a') as file:
        file.write('mean: [0.4, 0.4, 0.4]\nstd: [0.2, 0.2, 0.2]\n')
    assert read_dataset(dataset.root) == dataset


def test_images_without_labels_and_labels_without_an_image_are_named(drawn_dataset: Make) -> None:
    dataset = drawn_dataset(val=1)
    labels = dataset.samples('val')[0].labels_path
    labels.rename(labels.with_name('other.png'))
    with pytest.raises(DatasetError, match=r'val0.png has no labels .*labels/val0.png'):
        dataset.samples('val')
    write_image(labels, np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r'other.png has no image'):
        dataset.samples('val')


def test_two_images_with_the_same_labels_are_refused(drawn_dataset: Make) -> None:
    dataset = drawn_dataset()
    first = dataset.samples('train')[0].image_path
    first.with_suffix('.jpg').write_bytes(first.read_bytes())
    with pytest.raises(DatasetError, match=rf'{first.stem}\.jpg and {first.name} would have the same labels: remove one'):
        dataset.samples('train')

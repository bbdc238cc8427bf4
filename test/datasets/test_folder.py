"""Own data as folders of images and label PNGs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dataset_files import COLOR_IDS, COLORS, only_labels, pair_names, sample_names, write_labels, write_pair
from numpy.typing import ArrayLike

from enet_ros.datasets.folder import find_folder
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import by_prefix
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.labels import VOID


def convert(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_folder(root, classes, None))


@pytest.mark.parametrize(('labels', 'expected'), [
    ([[0, 1, 2, 3, 7, 255]], [[VOID, 0, 1, 2, 0, VOID]]), (COLORS, COLOR_IDS),
], ids=['ids', 'colours'])
def test_ids_and_colours_mean_what_the_classes_file_says(
    labels: ArrayLike, expected: list[list[int]], classes: Path, tmp_path: Path
) -> None:
    write_pair(tmp_path / 'src' / 'train', 'a', labels)
    dataset = convert(tmp_path / 'src', classes)
    assert only_labels(dataset) == expected
    assert (dataset.name, dataset.source, dataset.license) == ('yard', 'drawn by a test', 'free')
    assert dataset.labels.names == ('ground', 'box', 'person') and dataset.labels.colors[1] == (0, 0, 142)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_labels_fit_an_image_as_its_exif_orientation_displays_it(suffix: str, classes: Path, tmp_path: Path) -> None:
    image_module = pytest.importorskip('PIL.Image')
    exif = image_module.Exif()
    exif[0x112] = 6  # to be turned right by 90 degrees
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255  # the upper left corner becomes the upper right one
    displayed = np.ones((32, 16), np.uint8)
    displayed[:8, 8:] = 2
    write_labels(tmp_path / 'src' / 'train' / 'labels' / 'a.png', displayed)
    (tmp_path / 'src' / 'train' / 'images').mkdir()
    image_module.fromarray(pixels).save(tmp_path / 'src' / 'train' / 'images' / f'a{suffix}', exif=exif)
    image, labels = convert(tmp_path / 'src', classes).samples('train')[0].read()
    assert ((image[..., 0] > 128) == (labels == 1)).all()


def test_file_names_need_not_be_utf8(classes: Path, tmp_path: Path) -> None:
    for name in (b'Stra\xdfe', b'Stra\xdfe2'):
        write_pair(tmp_path / 'src', os.fsdecode(name), [[1, 2]])
    assert only_labels(convert(tmp_path / 'src', classes)) == [[0, 1]]


def test_an_undivided_folder_is_divided(classes: Path, tmp_path: Path) -> None:
    for name in ('a_1', 'a_2', 'b_1'):
        write_pair(tmp_path, name, [[1, 2]])
    assert pair_names(find_folder(tmp_path, classes, by_prefix(['b_']))) == {'train': ['a_1', 'a_2'], 'val': ['b_1']}
    assert [len(names) for names in pair_names(find_folder(tmp_path, classes, None)).values()] == [2, 1]


def test_existing_splits_are_kept(classes: Path, tmp_path: Path) -> None:
    for split, name in (('train', 'a'), ('train', 'b'), ('val', 'c'), ('test', 'd'), ('Validation', 'e')):
        write_pair(tmp_path / 'src' / split, name, [[1, 2]])
    assert sample_names(convert(tmp_path / 'src', classes)) == {'train': ['a', 'b'], 'val': ['c', 'e'], 'test': ['d']}


def test_missing_images_and_labels_are_named(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no images/ and no train/images/ in'):
        find_folder(tmp_path, classes, None)
    for name in ('a', 'b'):
        write_pair(tmp_path / 'src', name, [[1, 2]])
    (tmp_path / 'src' / 'labels' / 'b.png').unlink()
    with pytest.raises(DatasetError, match=r'images/b.jpg has no labels .*labels/b.png'):
        convert(tmp_path / 'src', classes)
    write_labels(tmp_path / 'src' / 'labels' / 'b.png', [[1, 2]])
    write_labels(tmp_path / 'src' / 'labels' / 'c.png', [[1, 2]])
    with pytest.raises(DatasetError, match=r'src/labels holds 1 images or labels .*, for example c.png'):
        convert(tmp_path / 'src', classes)
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'other' / 'val' / 'images').mkdir(parents=True)
    with pytest.raises(DatasetError, match=r'no PNG or JPEG images in .*val/images'):
        find_folder(tmp_path / 'other', classes, None)


@pytest.mark.parametrize('name', [
    'images/day/c.jpg', 'images/c.bmp', 'labels/c.tif', 'labels/c.jpg', 'images_2/c.jpg', 'labels/day/c.png', 'c.png',
])
def test_files_that_are_not_read_are_named(name: str, classes: Path, tmp_path: Path) -> None:
    for pair in ('a', 'b'):
        write_pair(tmp_path / 'src', pair, [[1, 2]])
    path = tmp_path / 'src' / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DatasetError, match=f'{path.parent} holds 1 images or labels .*, for example {path.name}: '):
        convert(tmp_path / 'src', classes)
    assert not (tmp_path / 'out').exists()

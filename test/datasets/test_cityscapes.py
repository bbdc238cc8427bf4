"""Cityscapes in its published layout. The table of ids is checked against the official scripts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_files import sample_names, write_photo

from enet_ros.datasets.cityscapes import find_cityscapes
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.labels import CITYSCAPES, VOID

ALL_IDS = np.arange(34, dtype=np.uint8)[None]


def write_frame(root: Path, kind: str, part: str, frame: str, ids: np.ndarray) -> None:
    city = frame.partition('_')[0]
    write_photo(root / 'leftImg8bit' / part / city / f'{frame}_leftImg8bit.png', *ids.shape)
    for suffix in ('labelIds', 'instanceIds', 'color'):  # in the same folder, as published
        write_image(root / kind / part / city / f'{frame}_{kind}_{suffix}.png', ids)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return Cityscapes as its archives unpack. Each image has a row of all label ids."""
    root = tmp_path / 'cityscapes'
    for part, frame in (('train', 'aachen_000000_000019'), ('train', 'bochum_000000_000313'),
                        ('val', 'frankfurt_000000_000294')):
        write_frame(root, 'gtFine', part, frame, ALL_IDS)
        write_frame(root, 'gtCoarse', part, frame, ALL_IDS)
    write_frame(root, 'gtFine', 'test', 'berlin_000000_000019', np.array([[0, 1, 2, 3]], np.uint8))
    write_frame(root, 'gtCoarse', 'train_extra', 'troisdorf_000000_000072', ALL_IDS)
    return root


def test_label_ids_become_the_train_ids_of_the_official_scripts(published: Path, tmp_path: Path) -> None:
    official = pytest.importorskip('cityscapesscripts.helpers.labels').labels
    dataset = write_dataset(tmp_path / 'out', find_cityscapes(published))
    ids = dataset.samples('val')[0].read()[1]
    assert ids.tolist() == [[label.trainId for label in official if label.id >= 0]]
    assert [(label.name, label.color) for label in sorted(official, key=lambda label: label.trainId)
            if 0 <= label.trainId < VOID] == list(zip(CITYSCAPES.names, CITYSCAPES.colors))


def test_fine_labels_give_three_splits_and_images_keep_their_names(published: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'out', find_cityscapes(published))
    assert sample_names(dataset) == {
        'train': ['aachen_000000_000019_leftImg8bit', 'bochum_000000_000313_leftImg8bit'],
        'val': ['frankfurt_000000_000294_leftImg8bit'], 'test': ['berlin_000000_000019_leftImg8bit'],
    }
    assert (dataset.samples('test')[0].read()[1] == VOID).all()
    assert dataset.pixels['test'] == [0] * 19


def test_coarse_labels_add_train_extra_to_train(published: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'out', find_cityscapes(published, coarse=True))
    assert [sample.stem.partition('_')[0] for sample in dataset.samples('train')] == ['aachen', 'bochum', 'troisdorf']
    assert list(dataset.pixels) == ['train', 'val']  # gtCoarse has no test part


@pytest.mark.parametrize('name', [
    'demoVideo/stuttgart/a.png', 'train/a.png', 'train/aachen/more/a.png', 'val/frankfurt/a.bmp',
])
def test_images_that_are_not_read_are_named(name: str, published: Path, tmp_path: Path) -> None:
    path = published / 'leftImg8bit' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(DatasetError, match=f'{path.parent} holds 1 images that are in no split, for example {path.name}: '):
        write_dataset(tmp_path / 'out', find_cityscapes(published))


def test_parts_without_published_labels_are_noted(published: Path) -> None:
    (note,) = find_cityscapes(published).notes
    assert 'leftImg8bit/train_extra/troisdorf holds 1 images that have no labels in gtFine/' in note
    (note,) = find_cityscapes(published, coarse=True).notes
    assert 'leftImg8bit/test/berlin holds 1 images that have no labels in gtCoarse/' in note


def test_an_unknown_id_is_named(published: Path, tmp_path: Path) -> None:
    write_frame(published, 'gtFine', 'val', 'lindau_000000_000019', np.array([[7, 34]], np.uint8))
    with pytest.raises(DatasetError, match=r'lindau_000000_000019_gtFine_labelIds.png holds label id 34'):
        write_dataset(tmp_path / 'out', find_cityscapes(published))


def test_missing_files_and_folders_are_named(published: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no train/, val/ or test/ in .*city.*leftImg8bit.* gtFine/'):
        find_cityscapes(published / 'leftImg8bit')
    labels = published / 'gtFine' / 'val' / 'frankfurt'
    shutil.rmtree(labels)
    with pytest.raises(DatasetError, match=r'frankfurt_000000_000294_leftImg8bit.png has no labels .*gtFine_labelIds.png'):
        write_dataset(tmp_path / 'out', find_cityscapes(published))
    shutil.rmtree(published / 'leftImg8bit' / 'train_extra')
    with pytest.raises(DatasetError, match=r'gtCoarse/train_extra/troisdorf holds 1 labels without an image, for example'):
        write_dataset(tmp_path / 'out', find_cityscapes(published, coarse=True))
    shutil.rmtree(published / 'leftImg8bit' / 'val' / 'frankfurt')
    with pytest.raises(DatasetError, match=r'no folders of cities in .*val'):
        find_cityscapes(published)

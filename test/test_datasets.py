from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from enet_ros.datasets.camvid import convert_camvid
from enet_ros.datasets.prepared import Dataset, DatasetError, read_dataset
from enet_ros.errors import EnetError
from enet_ros.files import write_image
from enet_ros.labels import CAMVID, VOID
from enet_ros.scene import draw_scene

Make = Callable[..., Dataset]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder in CamVid's published layout, with two drawn images a split and a strip of unlabelled pixels."""
    root = tmp_path / 'published'
    for split in ('train', 'val'):
        for number in range(2):
            image, labels = draw_scene(number, 48, 32)
            labels[:2] = 11
            write_image(root / split / f'{split}{number}.png', image)
            write_image(root / f'{split}annot' / f'{split}{number}.png', labels)
    return root


def test_camvid_converts_images_labels_and_counts(published: Path, tmp_path: Path) -> None:
    dataset = convert_camvid(published, tmp_path / 'prepared')
    assert dataset == read_dataset(tmp_path / 'prepared')
    assert dataset.labels == CAMVID
    samples = dataset.samples('train')
    assert [sample.stem for sample in samples] == ['train0', 'train1']
    counts = np.zeros(11, int)
    for number, sample in enumerate(samples):
        image, labels = sample.read()
        assert (image == draw_scene(number, 48, 32)[0]).all()
        assert (labels[:2] == VOID).all()
        assert (labels[2:] == draw_scene(number, 48, 32)[1][2:]).all()
        counts += np.bincount(labels[2:].reshape(-1), minlength=11)[:11]
    assert dataset.pixels['train'] == counts.tolist()


def test_camvid_writes_mean_and_std_of_the_training_images(published: Path, tmp_path: Path) -> None:
    convert_camvid(published, tmp_path / 'prepared')
    fields = yaml.safe_load((tmp_path / 'prepared' / 'dataset.yaml').read_text())
    rgb = np.stack([draw_scene(number, 48, 32)[0] for number in range(2)])[..., ::-1].reshape(-1, 3) / 255
    np.testing.assert_allclose(fields['mean'], rgb.mean(0), atol=1e-4)
    np.testing.assert_allclose(fields['std'], rgb.std(0), atol=1e-4)


def test_the_real_camvid_has_its_published_sizes(camvid: Path, tmp_path: Path) -> None:
    dataset = convert_camvid(camvid, tmp_path / 'prepared')
    assert (len(dataset.samples('train')), len(dataset.samples('val'))) == (367, 101)
    # roads are the largest class of every street, and nothing of void is counted
    assert CAMVID.names[int(np.argmax(dataset.pixels['train']))] == 'Road'
    assert sum(dataset.pixels['train']) < 367 * 480 * 360


def test_an_unknown_id_names_the_file_and_leaves_no_dataset(published: Path, tmp_path: Path) -> None:
    path = published / 'trainannot' / 'train1.png'
    write_image(path, np.full((32, 48), 12, np.uint8))
    with pytest.raises(DatasetError, match=r'trainannot/train1.png holds label id 12'):
        convert_camvid(published, tmp_path / 'prepared')
    with pytest.raises(DatasetError, match=r'no dataset.yaml'):
        read_dataset(tmp_path / 'prepared')


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda root: (root / 'valannot' / 'val1.png').unlink(), 'val1.png has no labels'),
    (lambda root: (root / 'val' / 'val1.png').write_bytes(b'x'), 'val/val1.png is missing, damaged'),
    (lambda root: (root / 'valannot' / 'val1.png').write_bytes(b'x'), 'valannot/val1.png is missing, damaged'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 40), np.uint8)), '48x32 but its labels'),
    (lambda root: write_image(root / 'valannot' / 'val1.png', np.zeros((32, 48, 3), np.uint8)), r'shape \(32, 48, 3\)'),
    (lambda root: [path.unlink() for path in (root / 'val').iterdir()], 'no images in .*val'),
    (lambda root: [shutil.rmtree(root / split) for split in ('train', 'val')], 'no train/, val/ or test/'),
], ids=['no labels', 'bad image', 'bad labels', 'other size', 'color labels', 'empty split', 'no split'])
def test_damaged_input_is_named(damage: Callable[[Path], object], reason: str, published: Path, tmp_path: Path) -> None:
    damage(published)
    with pytest.raises(EnetError, match=reason):
        convert_camvid(published, tmp_path / 'prepared')


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

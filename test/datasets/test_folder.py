"""Own data: label PNGs of ids or colours, a classes file, and how validation images are chosen."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from enet_ros.datasets.classes import read_classes
from enet_ros.datasets.folder import find_folder
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import Choice, by_prefix, by_share
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.labels import VOID

CLASSES = """
name: yard
source: drawn by a test
license: free
classes:
  - {name: ground, color: [128, 64, 128], from: [1, 7, [128, 64, 128], [9, 9, 9]]}
  - {name: box, color: [0, 0, 142], from: [2]}
  - {name: person, color: [220, 20, 60], from: [3]}
void: [0, [0, 0, 0]]
"""
COLORS = [[(128, 64, 128), (9, 9, 9), (0, 0, 142), (220, 20, 60), (0, 0, 0)]]
COLOR_IDS = [[0, 0, 1, 2, VOID]]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / 'classes.yaml'
    path.write_text(CLASSES)
    return path


def write_pair(folder: Path, name: str, labels: ArrayLike) -> None:
    pixels = np.array(labels, np.uint8)
    write_image(folder / 'images' / f'{name}.jpg', np.full((*pixels.shape[:2], 3), 77, np.uint8))
    write_image(folder / 'labels' / f'{name}.png', pixels if pixels.ndim == 2 else pixels[..., ::-1])


def convert(root: Path, classes: Path, choice: Choice | None = None) -> Dataset:
    return write_dataset(root.parent / 'out', find_folder(root, classes, choice))


@pytest.mark.parametrize(('labels', 'expected'), [
    ([[0, 1, 2, 3, 7, 255]], [[VOID, 0, 1, 2, 0, VOID]]), (COLORS, COLOR_IDS),
], ids=['ids', 'colors'])
def test_ids_and_colors_mean_what_the_classes_file_says(
    labels: ArrayLike, expected: list[list[int]], classes: Path, tmp_path: Path
) -> None:
    write_pair(tmp_path / 'src' / 'train', 'a', labels)
    dataset = convert(tmp_path / 'src', classes)
    assert dataset.samples('train')[0].read()[1].tolist() == expected
    assert (dataset.name, dataset.source, dataset.license) == ('yard', 'drawn by a test', 'free')
    assert dataset.labels.names == ('ground', 'box', 'person') and dataset.labels.colors[1] == (0, 0, 142)


def test_a_fourth_channel_is_no_colour(classes: Path, tmp_path: Path) -> None:
    write_pair(tmp_path / 'src' / 'train', 'a', COLORS)
    bgra = np.dstack([np.array(COLORS, np.uint8)[..., ::-1], np.array([[0, 50, 100, 200, 255]], np.uint8)])
    write_image(tmp_path / 'src' / 'train' / 'labels' / 'a.png', bgra)
    assert convert(tmp_path / 'src', classes).samples('train')[0].read()[1].tolist() == COLOR_IDS


def write_small_png(path: Path, ids: list[int], depth: int) -> None:
    """Write one row of numbers with `depth` bits each, which OpenCV cannot."""
    bits = np.unpackbits(np.array(ids, np.uint8)[:, None], axis=1)[:, -depth:]
    chunks = ((b'IHDR', struct.pack('>IIBBBBB', len(ids), 1, depth, 0, 0, 0, 0)),
              (b'IDAT', zlib.compress(b'\0' + np.packbits(bits.reshape(-1)).tobytes())), (b'IEND', b''))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    ))


@pytest.mark.parametrize(('ids', 'depth', 'box', 'expected'), [
    ([0, 1, 2, 3], 2, '[2]', [VOID, 0, 1, 2]), ([0, 1, 7, 2], 4, '[2]', [VOID, 0, 0, 1]),
    ([0, 0, 0, 0], 1, '[2]', [VOID, VOID, VOID, VOID]), ([0, 1, 0, 1], 1, '[2]', [VOID, 0, VOID, 0]),
    ([0, 2, 0, 2], 2, '[170]', [VOID, 1, VOID, 1]),  # a mask of 0 and 170, made smaller
], ids=['2 bits', '4 bits', 'zeros', '1 bit', '0 and 170'])
def test_ids_of_fewer_bits_are_those_that_the_classes_know(
    ids: list[int], depth: int, box: str, expected: list[int], classes: Path, tmp_path: Path
) -> None:
    classes.write_text(CLASSES.replace('from: [2]', f'from: {box}'))
    write_pair(tmp_path / 'src' / 'train', 'a', [ids])
    write_small_png(tmp_path / 'src' / 'train' / 'labels' / 'a.png', ids, depth)
    assert convert(tmp_path / 'src', classes).samples('train')[0].read()[1].tolist() == [expected]


def test_ids_of_fewer_bits_that_may_mean_two_things_are_refused(classes: Path, tmp_path: Path) -> None:
    classes.write_text(CLASSES.replace('from: [2]', 'from: [255]'))
    write_pair(tmp_path / 'src' / 'train', 'a', [[0, 1]])
    write_small_png(tmp_path / 'src' / 'train' / 'labels' / 'a.png', [0, 1], 1)
    with pytest.raises(DatasetError, match=r'a.png has 1-bit pixels, which may mean ids up to 1 or, .* up to 255: save it'):
        convert(tmp_path / 'src', classes)


@pytest.mark.parametrize(('ids', 'depth', 'unknown'), [([0, 3, 0, 3], 2, 3), ([0, 15], 4, 15)], ids=['2 bits', '4 bits'])
def test_an_unknown_id_of_fewer_bits_is_named_and_not_void(
    ids: list[int], depth: int, unknown: int, classes: Path, tmp_path: Path
) -> None:
    classes.write_text(CLASSES.replace('from: [3]', 'from: [5]'))
    # 255, to which viewers stretch it, is void by default
    write_pair(tmp_path / 'src' / 'train', 'a', [ids])
    write_small_png(tmp_path / 'src' / 'train' / 'labels' / 'a.png', ids, depth)
    with pytest.raises(DatasetError, match=f'a.png holds label id {unknown}, which is no class'):
        convert(tmp_path / 'src', classes)


def test_names_need_not_be_utf8(classes: Path, tmp_path: Path) -> None:
    for name in (b'Stra\xdfe', b'Stra\xdfe2'):
        write_pair(tmp_path / 'src', os.fsdecode(name), [[1, 2]])
    assert convert(tmp_path / 'src', classes).samples('train')[0].read()[1].tolist() == [[0, 1]]


def test_classes_without_from_are_numbered_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / 'classes.yaml'
    path.write_text('{name: n, source: s, license: l, classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [4, 5, 6]}]}')
    write_pair(tmp_path / 'src' / 'train', 'ids', [[0, 1, 255]])
    write_pair(tmp_path / 'src' / 'train', 'colors', [[(1, 2, 3), (4, 5, 6), (1, 2, 3)]])
    colors, ids = convert(tmp_path / 'src', path).samples('train')
    assert ids.read()[1].tolist() == [[0, 1, VOID]] and colors.read()[1].tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(('labels', 'reason'), [
    ([[1, 4]], r'a.png holds label id 4, which is no class'),
    ([[(0, 0, 142), (1, 2, 3)]], r'a.png holds colour \(1, 2, 3\), which is no class'),
], ids=['id', 'color'])
def test_a_value_that_the_classes_file_lacks_is_named(
    labels: ArrayLike, reason: str, classes: Path, tmp_path: Path
) -> None:
    write_pair(tmp_path / 'src' / 'train', 'a', labels)
    with pytest.raises(DatasetError, match=reason):
        convert(tmp_path / 'src', classes)


def test_labels_of_16_bits_are_refused(classes: Path, tmp_path: Path) -> None:
    write_pair(tmp_path / 'src' / 'train', 'a', [[1]])
    write_image(tmp_path / 'src' / 'train' / 'labels' / 'a.png', np.ones((1, 1), np.uint16))
    with pytest.raises(DatasetError, match=r'a.png has type uint16: labels are 8-bit'):
        convert(tmp_path / 'src', classes)


def make_flat(root: Path, names: list[str]) -> Path:
    for name in names:
        write_pair(root, name, [[1, 2]])
    return root


def stems(dataset: Dataset, split: str) -> set[str]:
    return {sample.stem for sample in dataset.samples(split)}


def test_a_fifth_of_a_flat_folder_is_held_out_always_the_same(classes: Path, tmp_path: Path) -> None:
    names = [f'frame{number:02}' for number in range(20)]
    first = convert(make_flat(tmp_path / 'a' / 'src', names), classes)
    second = convert(make_flat(tmp_path / 'b' / 'src', names[::-1]), classes)
    assert stems(first, 'val') == stems(second, 'val') and len(stems(first, 'val')) == 4
    assert stems(first, 'train') == set(names) - stems(first, 'val')
    # not the last of a drive, and not every fifth, which would look like its neighbours in train
    assert stems(first, 'val') not in ({*names[-4:]}, {*names[:4]}, {*names[::5]})
    third = convert(make_flat(tmp_path / 'c' / 'src', [*names, 'frame20', 'frame21']), classes)
    assert len(stems(third, 'val') & stems(first, 'val')) >= 3


@pytest.mark.parametrize(('choice', 'val'), [
    (by_share(0.5), 2), (by_share(0.01), 1), (by_prefix(['b_']), 1), (by_prefix(['b_', 'a_2']), 2),
], ids=['half', 'little', 'prefix', 'prefixes'])
def test_validation_images_can_be_chosen(choice: Choice, val: int, classes: Path, tmp_path: Path) -> None:
    dataset = convert(make_flat(tmp_path / 'src', ['a_1', 'a_2', 'a_3', 'b_1']), classes, choice)
    assert len(stems(dataset, 'val')) == val and len(stems(dataset, 'train')) == 4 - val


@pytest.mark.parametrize(('choice', 'reason'), [
    (by_prefix(['c_']), r'no image name starts with "c_": a_1, say, is one'),
    (by_prefix(['a_', 'b_']), r'all 2 images are held out'), (by_share(0.9), r'all 2 images are held out'),
], ids=['no such prefix', 'all prefixes', 'too large a share'])
def test_a_choice_that_leaves_nothing_is_refused(choice: Choice, reason: str, classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=reason):
        find_folder(make_flat(tmp_path, ['a_1', 'b_1']), classes, choice)


def test_splits_that_are_there_are_kept(classes: Path, tmp_path: Path) -> None:
    for split, names in (('train', ['a', 'b']), ('val', ['c']), ('test', ['d'])):
        make_flat(tmp_path / 'src' / split, names)
    make_flat(tmp_path / 'src' / 'Validation', ['e'])
    dataset = convert(tmp_path / 'src', classes)
    assert [stems(dataset, split) for split in ('train', 'val', 'test')] == [{'a', 'b'}, {'c', 'e'}, {'d'}]
    with pytest.raises(DatasetError, match=r'the images are in train, val, test already'):
        find_folder(tmp_path / 'src', classes, by_share(0.5))


@pytest.mark.parametrize(('more', 'reason'), [
    ('train_old', r'src/train_old holds images/, but its name is none of train, training, val'),
    ('.', r'src and its folder train both hold images/: take one out'),
], ids=['neither split', 'no split'])
def test_images_that_would_be_left_out_are_named(more: str, reason: str, classes: Path, tmp_path: Path) -> None:
    make_flat(tmp_path / 'src' / more, ['f'])
    make_flat(tmp_path / 'src' / 'train', ['a'])
    with pytest.raises(DatasetError, match=reason):
        find_folder(tmp_path / 'src', classes, None)


def test_other_folders_beside_a_flat_one_are_nobodys_business(classes: Path, tmp_path: Path) -> None:
    for folder in ('.trash', '__MACOSX', 'raw', '.'):
        make_flat(tmp_path / 'src' / folder, ['a', 'b'])
    assert [len(pairs) for pairs in find_folder(tmp_path / 'src', classes, None).splits.values()] == [1, 1]


def test_what_is_missing_is_named(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no images/ and no train/images/ in'):
        find_folder(tmp_path, classes, None)
    make_flat(tmp_path / 'src', ['a', 'b'])
    (tmp_path / 'src' / 'labels' / 'b.png').unlink()
    with pytest.raises(DatasetError, match=r'images/b.jpg has no labels .*labels/b.png'):
        convert(tmp_path / 'src', classes)
    (tmp_path / 'other' / 'val' / 'images').mkdir(parents=True)
    with pytest.raises(DatasetError, match=r'no PNG or JPEG images in .*val/images'):
        find_folder(tmp_path / 'other', classes, None)


@pytest.mark.parametrize(('old', 'new', 'reason'), [
    ('name: yard', '', r"lacks 'name'"),
    ('name: yard', 'name: 7', r'name is 7: it must be text'),
    ('name: yard', 'nam: yard', r"'nam' is no key: choose from classes"),
    ('from: [2]', 'form: [2]', r"'form' is no key: choose from color"),
    ('from: [2]', 'from: 2', r'2 is no list'),
    ('from: [2]', 'from: [1]', r'1 stands for both ground and box'),
    ('from: [2]', 'from: [256]', r'256 is no id \(0 to 255\)'),
    ('from: [2]', 'from: [[1, 2]]', r'\(1, 2\) is no id'),
    ('void: [0,', 'void: [2,', r'2 stands for both box and void'),
    ('color: [0, 0, 142]', 'color: [0, 0]', r'colour \(0, 0\) of class "box"'),
    ('void:', 'rest: sky\nvoid:', r"rest is 'sky': choose void or a class of ground, box, person"),
    ('classes:', 'classes: [', r'cannot read'),
    ('classes:', 'classes: 3\nold:', r"'old' is no key"),
    ('classes:', 'classes:\n  - a', r"class 'a' has no keys: write it like"),
], ids=lambda value: value if ' ' not in value else None)
def test_a_wrong_classes_file_is_one_line(old: str, new: str, reason: str, classes: Path) -> None:
    assert old in CLASSES
    classes.write_text(CLASSES.replace(old, new))
    with pytest.raises(DatasetError, match=reason) as caught:
        read_classes(classes)
    assert str(classes) in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['', '[]', 'classes', '{name: n, source: s, license: l, classes: 3}'])
def test_a_file_that_is_no_classes_file_is_refused(text: str, classes: Path) -> None:
    classes.write_text(text)
    with pytest.raises(DatasetError, match=r'classes.yaml is wrong'):
        read_classes(classes)

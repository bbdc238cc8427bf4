"""Annotations as labelme writes them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_files import CLASSES, area_ids, only_labels, pair_names, write_json, write_photo

from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import by_prefix
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError
from enet_ros.labels import VOID

SQUARE = [[2, 1], [5, 1], [5, 3], [2, 3]]  # columns 2 to 5 of rows 1 to 3: corners are pixels


def shape(label: str, points: list[list[float]], kind: str = 'polygon', **more: object) -> dict[str, object]:
    return {'label': label, 'points': points, 'group_id': None, 'shape_type': kind, 'flags': {}, **more}


def annotate(folder: Path, name: str, *shapes: dict[str, object], **more: object) -> Path:
    """Write an image and the file that labelme saves beside it."""
    write_photo(folder / f'{name}.jpg')
    path = folder / f'{name}.json'
    path.write_text(json.dumps({
        'version': '5.4.1', 'flags': {}, 'shapes': shapes, 'imagePath': f'{name}.jpg', 'imageData': None,
        'imageHeight': 8, 'imageWidth': 10, **more,
    }))
    return path


def convert(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_labelme(root, classes, None))


def test_later_polygons_cover_earlier_ones(classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'src' / 'train', 'a', shape('ground', [[0, 0], [9, 0], [9, 4], [0, 4]]), shape('crate', SQUARE),
             shape('__ignore__', [[3, 2], [3, 2], [3, 2]]))
    assert only_labels(convert(tmp_path / 'src', classes)) == area_ids(
        (slice(0, 5), slice(0, 10), 0), (slice(1, 4), slice(2, 6), 1), (slice(2, 3), slice(3, 4), VOID)
    )


def test_a_corner_belongs_to_the_pixel_it_lies_in(classes: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).uniform(0, 0.99, (4, 2))
    annotate(tmp_path / 'src', 'a', shape('box', (SQUARE + pixels).tolist()))
    annotate(tmp_path / 'src', 'b', shape('box', SQUARE, 'rotation'))
    annotate(tmp_path / 'src', 'c', shape('box', SQUARE, 'rectangle'))  # X-AnyLabeling's have four corners
    dataset = write_dataset(tmp_path / 'out', find_labelme(tmp_path / 'src', classes, by_prefix(['c'])))
    for sample in (*dataset.samples('train'), *dataset.samples('val')):
        assert sample.read()[1].tolist() == area_ids((slice(1, 4), slice(2, 6), 1)), sample


def test_an_image_is_the_file_of_the_same_stem_or_the_one_that_is_named(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    annotate(root, 'a')
    write_photo(root / 'a.png')  # an exported mask, for example: two files of this stem, so the name decides
    annotate(root, 'b', imagePath='..\\photos\\old.png').with_name('b.jpg').unlink()
    write_photo(tmp_path / 'photos' / 'old.png')
    annotate(root, 'c', imagePath='renamed.jpg')
    pairs = find_labelme(root, classes, by_prefix(['c'])).splits
    assert [pair.image_path.resolve() for pair in (*pairs['train'], *pairs['val'])] == [
        root / 'a.jpg', tmp_path / 'photos' / 'old.png', root / 'c.jpg'
    ]
    dataset = convert(root, classes)
    assert {sample.image_path.name for split in ('train', 'val') for sample in dataset.samples(split)} == {
        'a.jpg', 'b.png', 'c.jpg'
    }


def test_a_mask_is_not_mistaken_for_an_image_of_another_format(classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'train', 'd', imagePath='d.bmp').with_name('d.jpg').rename(tmp_path / 'train' / 'd.bmp')
    write_photo(tmp_path / 'train' / 'd.png')
    (pair,) = find_labelme(tmp_path, classes, None).splits['train']
    assert pair.image_path.name == 'd.bmp'


def test_two_files_that_annotate_one_image_are_named(classes: Path, tmp_path: Path) -> None:
    path = annotate(tmp_path, 'a')
    (tmp_path / 'a.bak.json').write_text(path.read_text())
    with pytest.raises(DatasetError, match=r'a.bak.json and .*a.json both annotate .*a.jpg'):
        find_labelme(tmp_path, classes, None)


def test_rectangles_circles_and_masks_are_drawn(classes: Path, tmp_path: Path) -> None:
    mask = cv2.imencode('.png', np.array([[0, 255], [255, 255], [0, 255]], np.uint8))[1].tobytes()
    for name, one, area in (
        ('rectangle', shape('box', [[5, 3], [2, 1]], 'rectangle'), area_ids((slice(1, 4), slice(2, 6), 1))),
        ('mask', shape('box', [[8, 6], [9, 8]], 'mask', mask=base64.b64encode(mask).decode()),
         area_ids((slice(6, 8), slice(9, 10), 1), (slice(7, 8), slice(8, 10), 1))),
        ('half', shape('box', [[-1, -1], [0, 1]], 'mask', mask=base64.b64encode(mask).decode()),
         area_ids((slice(0, 2), slice(0, 1), 1))),
        ('circle', shape('box', [[4, 4], [4, 5]], 'circle'),
         area_ids((slice(3, 6), slice(4, 5), 1), (slice(4, 5), slice(3, 6), 1))),
    ):
        annotate(tmp_path / name / 'src' / 'train', name, one)
        assert only_labels(convert(tmp_path / name / 'src', classes)) == area, name


def test_pixels_without_a_shape_get_the_class_rest(classes: Path, tmp_path: Path) -> None:
    classes.write_text(CLASSES + 'rest: ground\n')
    annotate(tmp_path / 'src' / 'train', 'a', shape('box', SQUARE))
    dataset = convert(tmp_path / 'src', classes)
    assert only_labels(dataset) == area_ids((slice(1, 4), slice(2, 6), 1), rest=0)
    assert dataset.pixels['train'] == [80 - 12, 12, 0]


def test_images_without_a_json_file_and_files_of_others_are_left_out(classes: Path, tmp_path: Path) -> None:
    for name in ('a1', 'a2', 'b1'):
        annotate(tmp_path, name, shape('box', SQUARE))
    write_photo(tmp_path / 'a3.jpg')
    for other in ('.vscode/settings.json', '__MACOSX/._a1.json', 'models/config.json'):
        write_json(tmp_path / other, {})
    assert pair_names(find_labelme(tmp_path, classes, by_prefix(['b']))) == {'train': ['a1', 'a2'], 'val': ['b1']}


@pytest.mark.parametrize(('more', 'reason'), [
    ('models/config.json', r'models holds JSON files of labelme but is not named after a split'),
    ('b.json', r'both .* and its folder train hold JSON files of labelme'),
    ('Test/b.txt', r'no JSON files of labelme in .*Test'),
], ids=['in a folder of another name', 'beside the splits', 'in an empty split'])
def test_annotations_that_are_in_no_split_are_named(more: str, reason: str, classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'train', 'a')
    write_json(tmp_path / more, {})
    write_photo(tmp_path / 'b.jpg')
    with pytest.raises(DatasetError, match=reason):
        find_labelme(tmp_path, classes, None)


def test_json_files_without_images_may_lie_beside_the_splits(classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'train', 'a')
    write_json(tmp_path / 'settings.json', {})
    assert pair_names(find_labelme(tmp_path, classes, None)) == {'train': ['a']}


@pytest.mark.parametrize(('change', 'reason'), [
    ({'shapes': [shape('cat', SQUARE)]}, r'a.json .*"cat"'),
    ({'shapes': [shape('box', SQUARE[:2], 'line')]}, r'a.json holds a shape of type line'),
    ({'shapes': [shape('box', [[1]])]}, r'a.json is not valid'),
    ({'shapes': [shape('box', [[1, 2], [1, float('inf')]], 'circle')]}, r'a.json is not valid: a corner'),
    ({'shapes': [shape('box', [*SQUARE, [3e9, 1]])]}, r'a.json is not valid: a corner is .* far outside'),
    ({'shapes': [shape('box', [])]}, r'a.json is not valid: a shape has no corner'),
    ({'imageHeight': 10**9, 'imageWidth': 10**9}, r'a.json is not valid'),
    ({'shapes': [shape('box', SQUARE, 'mask', mask='eA==')]}, r'a.json is not valid: a mask is not a PNG'),
    ({'shapes': [{'label': 'box'}]}, r"a.json lacks 'points'"),
    ({'imageHeight': None}, r'a.json is not valid'),
    ({'imageHeight': 9}, r'a.jpg is 10x8 but its labels .*a.json are 10x9'),
], ids=['unknown class', 'line', 'half a point', 'not a number', 'far outside', 'no points', 'absurd size', 'bad mask',
        'key missing', 'no size', 'other size'])
def test_a_file_that_cannot_be_used_is_named(
    change: dict[str, object], reason: str, classes: Path, tmp_path: Path
) -> None:
    annotate(tmp_path / 'src' / 'train', 'a', **change)
    with pytest.raises(DatasetError, match=reason) as caught:
        convert(tmp_path / 'src', classes)
    assert '\n' not in str(caught.value)


def test_missing_and_damaged_files_are_named(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no JSON files of labelme in'):
        find_labelme(tmp_path, classes, None)
    path = annotate(tmp_path / 'src' / 'train', 'a')
    path.with_suffix('.jpg').unlink()
    with pytest.raises(DatasetError, match=r'a.jpg, the image of .*a.json, is missing'):
        convert(tmp_path / 'src', classes)
    write_photo(path.with_suffix('.jpg'))
    path.write_text('{')
    with pytest.raises(DatasetError, match=r'cannot read .*a.json'):
        convert(tmp_path / 'src', classes)

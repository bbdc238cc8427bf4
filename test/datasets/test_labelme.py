"""Annotations as labelme writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import CLASSES, area_ids, only_labels, pair_names, sample_names, write_json, write_photo

from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import by_prefix
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
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


def test_an_image_is_the_file_of_the_same_stem_or_the_one_that_is_named(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    annotate(root, 'a')
    write_photo(root / 'a.png')  # an exported mask, for example: two files of this stem, so the name decides
    annotate(root, 'b', imagePath='photos\\old.png').with_name('b.jpg').unlink()
    write_photo(root / 'photos' / 'old.png')
    annotate(root, 'c', imagePath='renamed.jpg')
    pairs = find_labelme(root, classes, by_prefix(['c'])).splits
    assert [pair.image_path for pair in (*pairs['train'], *pairs['val'])] == [
        root / 'a.jpg', root / 'photos' / 'old.png', root / 'c.jpg'
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


def test_pixels_without_a_shape_get_the_class_rest(classes: Path, tmp_path: Path) -> None:
    classes.write_text(CLASSES + 'rest: ground\n')
    annotate(tmp_path / 'src' / 'train', 'a', shape('box', SQUARE))
    dataset = convert(tmp_path / 'src', classes)
    assert only_labels(dataset) == area_ids((slice(1, 4), slice(2, 6), 1), rest=0)
    assert dataset.pixels['train'] == [80 - 12, 12, 0]


def test_images_without_a_json_file_are_named_or_skipped(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    for name in ('a1', 'a2', 'b1'):
        annotate(root, name, shape('box', SQUARE))
    for name in ('a3.jpg', 'a4.png', 'more/a5.jpg'):
        write_photo(root / name)
    source = find_labelme(root, classes, by_prefix(['b']))
    with pytest.raises(DatasetError, match=r'src holds 2 images that are not annotated .* example a3.jpg: .* --skip-bad'):
        write_dataset(tmp_path / 'out', source)
    assert not (tmp_path / 'out').exists()
    skipped: list[EnetError] = []
    assert sample_names(write_dataset(tmp_path / 'out', source, on_bad=skipped.append)) == {
        'train': ['a1', 'a2'], 'val': ['b1']
    }
    assert len(skipped) == 2 and 'src/more holds 1 images' in str(skipped[1])


@pytest.mark.parametrize('name', ['more/c.json', 'more/c.JSON', 'train/more/c.json'])
def test_annotations_outside_of_the_splits_are_named(name: str, classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    for pair in ('a', 'b'):
        annotate(root / ('train' if 'train' in name else ''), pair)
    write_json(root / name, {'shapes': [], 'imageData': 'eA=='})
    folder = (root / name).parent
    with pytest.raises(DatasetError, match=f'{folder} holds 1 JSON files of labelme that are in no split, for example c.'):
        convert(root, classes)


def test_a_json_file_with_an_upper_case_suffix_is_read(classes: Path, tmp_path: Path) -> None:
    path = annotate(tmp_path / 'train', 'a')
    path.rename(path.with_suffix('.JSON'))
    assert pair_names(find_labelme(tmp_path, classes, None)) == {'train': ['a']}


def test_images_beside_annotated_ones_are_noted(classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'train', 'a')
    write_photo(tmp_path / 'train' / 'a.png')
    source = find_labelme(tmp_path, classes, None)
    assert not source.left_out
    assert source.notes == [f'{tmp_path}/train holds 1 images with the name of an annotated one, for example a.png']


def test_files_of_others_are_ignored(classes: Path, tmp_path: Path) -> None:
    for name in ('a1', 'b1'):
        annotate(tmp_path, name, shape('box', SQUARE))
    for other in ('.vscode/settings.json', '__MACOSX/._a1.json', 'models/config.json'):
        write_json(tmp_path / other, {})
    source = find_labelme(tmp_path, classes, by_prefix(['b']))
    assert pair_names(source) == {'train': ['a1'], 'val': ['b1']} and not source.left_out


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
    ({'shapes': [shape('box', SQUARE, 'star')]}, r'a.json is not valid: "star" is not a type of shape'),
    ({'shapes': [shape('box', [[1]])]}, r'a.json is not valid'),
    ({'shapes': [shape('box', [[1, 2], [1, float('inf')]], 'circle')]}, r'a.json is not valid: a corner'),
    ({'shapes': [shape('box', [*SQUARE, [3e9, 1]])]}, r'a.json is not valid: a corner is .* far outside'),
    ({'shapes': [shape('box', [])]}, r'a.json is not valid: a polygon has 0 corners'),
    ({'imageHeight': 60_000, 'imageWidth': 60_000},
     r'a.json is not valid: it is for an image of "60000x60000", but the image has 10x8 pixels'),
    ({'shapes': [shape('box', SQUARE[:2], 'mask', mask='eA==')]}, r'a.json is not valid: a mask is not a PNG'),
    ({'shapes': [{'label': 'box'}]}, r"a.json lacks 'points'"),
    ({'imageHeight': None}, r'a.json is not valid'),
    ({'imageHeight': 9}, r'a.json is not valid: it is for an image of "10x9", but'),
], ids=['unknown class', 'unknown shape', 'half a point', 'not a number', 'far outside', 'no points', 'absurd size',
        'bad mask', 'key missing', 'no size', 'other size'])
def test_a_file_that_cannot_be_used_is_named(
    change: dict[str, object], reason: str, classes: Path, tmp_path: Path
) -> None:
    annotate(tmp_path / 'src' / 'train', 'a', **change)
    with pytest.raises(DatasetError, match=reason) as caught:
        convert(tmp_path / 'src', classes)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['../secret.png', r'..\secret.png', 'absolute', 'link.png'])
def test_an_image_outside_of_src_is_refused(name: str, classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'secret.png')
    named = str(tmp_path / 'secret.png') if name == 'absolute' else name
    annotate(tmp_path / 'src', 'b')
    annotate(tmp_path / 'src', 'a', imagePath=named).with_name('a.jpg').unlink()
    if name == 'link.png':
        (tmp_path / 'src' / name).symlink_to(tmp_path / 'secret.png')
    source = find_labelme(tmp_path / 'src', classes, by_prefix(['b']))
    with pytest.raises(DatasetError, match=r'(secret|link).png is outside of .*src: .* --allow-outside'):
        write_dataset(tmp_path / 'out', source)
    assert not (tmp_path / 'out').exists()
    assert sample_names(write_dataset(tmp_path / 'out', replace(source, root=None)))['train'] == ['a']


def test_an_annotation_file_may_not_be_a_link_to_outside(classes: Path, tmp_path: Path) -> None:
    path = annotate(tmp_path / 'src', 'a')
    annotate(tmp_path / 'src', 'b')
    path.rename(tmp_path / 'elsewhere.json')
    path.symlink_to(tmp_path / 'elsewhere.json')
    with pytest.raises(DatasetError, match=r'a.json is outside of .*src: '):
        convert(tmp_path / 'src', classes)


@pytest.mark.parametrize('name', ['x\0.jpg', '..', 'a' * 300, 'a/' * 600 + 'b', '\ud800.jpg'],
                         ids=['NUL', 'no name', 'long name', 'long path', 'not text'])
def test_an_impossible_image_path_is_one_line(name: str, classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'src', 'a', imagePath=name).with_name('a.jpg').unlink()
    with pytest.raises(DatasetError, match=r'src/a.json is not valid: .*; save it with labelme again') as caught:
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

"""labelme's and COCO's annotations, as the tools write them."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from enet_ros.datasets.coco import find_coco
from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.splitting import by_prefix
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.images.files import write_image
from enet_ros.labels import VOID

CLASSES = """
name: yard
source: drawn by a test
license: free
classes:
  - {name: ground, color: [128, 64, 128]}
  - {name: box, color: [0, 0, 142], from: [box, crate]}
void: [__ignore__]
"""
SQUARE = [[2, 1], [5, 1], [5, 3], [2, 3]]  # labelme's corners are pixels: columns 2 to 5 of rows 1 to 3
OUTLINE = [[2, 1], [6, 1], [6, 4], [2, 4]]  # COCO's are points between pixels: the same square


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / 'classes.yaml'
    path.write_text(CLASSES)
    return path


def image(path: Path) -> None:
    write_image(path, np.full((8, 10, 3), 77, np.uint8))


def expected(*areas: tuple[slice, slice, int], rest: int = VOID) -> list[list[int]]:
    ids = np.full((8, 10), rest)
    for rows, columns, index in areas:
        ids[rows, columns] = index
    return ids.tolist()


def shape(label: str, points: list[list[float]], kind: str = 'polygon', **more: object) -> dict[str, object]:
    return {'label': label, 'points': points, 'group_id': None, 'shape_type': kind, 'flags': {}, **more}


def annotate(folder: Path, name: str, *shapes: dict[str, object], **more: object) -> Path:
    """Write an image and the file that labelme saves beside it."""
    image(folder / f'{name}.jpg')
    path = folder / f'{name}.json'
    path.write_text(json.dumps({
        'version': '5.4.1', 'flags': {}, 'shapes': shapes, 'imagePath': f'{name}.jpg', 'imageData': None,
        'imageHeight': 8, 'imageWidth': 10, **more,
    }))
    return path


def labels_of(dataset: Dataset, split: str = 'train') -> list[list[int]]:
    (sample,) = dataset.samples(split)
    return sample.read()[1].tolist()


def convert_labelme(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_labelme(root, classes, None))


def test_labelme_polygons_are_drawn_in_their_order(classes: Path, tmp_path: Path) -> None:
    annotate(tmp_path / 'src' / 'train', 'a', shape('ground', [[0, 0], [9, 0], [9, 4], [0, 4]]), shape('crate', SQUARE),
             shape('__ignore__', [[3, 2], [3, 2], [3, 2]]))
    assert labels_of(convert_labelme(tmp_path / 'src', classes)) == expected(
        (slice(0, 5), slice(0, 10), 0), (slice(1, 4), slice(2, 6), 1), (slice(2, 3), slice(3, 4), VOID)
    )


def test_labelme_corners_are_in_the_pixels_that_they_lie_in(classes: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).uniform(0, 0.99, (4, 2))
    annotate(tmp_path / 'src', 'a', shape('box', (SQUARE + pixels).tolist()))
    annotate(tmp_path / 'src', 'b', shape('box', SQUARE, 'rotation'))
    annotate(tmp_path / 'src', 'c', shape('box', SQUARE, 'rectangle'))  # X-AnyLabeling's have four corners
    dataset = write_dataset(tmp_path / 'out', find_labelme(tmp_path / 'src', classes, by_prefix(['c'])))
    for sample in (*dataset.samples('train'), *dataset.samples('val')):
        assert sample.read()[1].tolist() == expected((slice(1, 4), slice(2, 6), 1)), sample


def test_labelme_images_are_those_that_are_named(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'src'
    annotate(root, 'a')
    image(root / 'a.png')  # such as an exported mask
    annotate(root, 'b', imagePath='..\\photos\\old.png').with_name('b.jpg').unlink()
    image(tmp_path / 'photos' / 'old.png')
    annotate(root, 'c', imagePath='renamed.jpg')
    pairs = find_labelme(root, classes, by_prefix(['c'])).splits
    assert [pair.image_path.resolve() for pair in (*pairs['train'], *pairs['val'])] == [
        root / 'a.jpg', tmp_path / 'photos' / 'old.png', root / 'c.jpg'
    ]
    annotate(root, 'd', imagePath='d.bmp').with_name('d.jpg').rename(root / 'd.bmp')
    image(root / 'd.png')  # a mask again: the photo is in a format that is none of the package's
    (pair,) = find_labelme(root, classes, by_prefix(['d'])).splits['val']
    assert pair.image_path == root / 'd.bmp'  # which is refused as any other BMP file
    for path in root.glob('d.*'):
        path.unlink()
    (root / 'a.bak.json').write_text((root / 'a.json').read_text())
    with pytest.raises(DatasetError, match=r'a.bak.json and .*a.json both annotate .*a.jpg: take one out'):
        find_labelme(root, classes, None)
    (root / 'a.bak.json').unlink()
    dataset = convert_labelme(root, classes)
    assert {sample.image_path.name for split in ('train', 'val') for sample in dataset.samples(split)} == {
        'a.jpg', 'b.png', 'c.jpg'
    }


def test_labelme_rectangles_circles_and_masks_are_drawn(classes: Path, tmp_path: Path) -> None:
    mask = cv2.imencode('.png', np.array([[0, 255], [255, 255], [0, 255]], np.uint8))[1].tobytes()
    for name, one, area in (
        ('rectangle', shape('box', [[5, 3], [2, 1]], 'rectangle'), expected((slice(1, 4), slice(2, 6), 1))),
        ('mask', shape('box', [[8, 6], [9, 8]], 'mask', mask=base64.b64encode(mask).decode()),
         expected((slice(6, 8), slice(9, 10), 1), (slice(7, 8), slice(8, 10), 1))),
        ('half', shape('box', [[-1, -1], [0, 1]], 'mask', mask=base64.b64encode(mask).decode()),
         expected((slice(0, 2), slice(0, 1), 1))),
        ('circle', shape('box', [[4, 4], [4, 5]], 'circle'),
         expected((slice(3, 6), slice(4, 5), 1), (slice(4, 5), slice(3, 6), 1))),
    ):
        annotate(tmp_path / name / 'src' / 'train', name, one)
        assert labels_of(convert_labelme(tmp_path / name / 'src', classes)) == area, name


def test_rest_is_the_class_of_what_nothing_covers(classes: Path, tmp_path: Path) -> None:
    classes.write_text(CLASSES + 'rest: ground\n')
    annotate(tmp_path / 'src' / 'train', 'a', shape('box', SQUARE))
    dataset = convert_labelme(tmp_path / 'src', classes)
    assert labels_of(dataset) == expected((slice(1, 4), slice(2, 6), 1), rest=0)
    assert dataset.pixels['train'] == [80 - 12, 12]


def test_images_that_are_not_annotated_are_left_out(classes: Path, tmp_path: Path) -> None:
    for name in ('a1', 'a2', 'b1'):
        annotate(tmp_path / 'src', name, shape('box', SQUARE))
    image(tmp_path / 'src' / 'a3.jpg')
    for other in ('.vscode/settings.json', '__MACOSX/._a1.json', 'models/config.json'):
        write_json(tmp_path / 'src' / other, {})
    splits = find_labelme(tmp_path / 'src', classes, by_prefix(['b'])).splits
    assert {split: [pair.name for pair in pairs] for split, pairs in splits.items()} == {
        'train': ['a1', 'a2'], 'val': ['b1']
    }
    annotate(tmp_path / 'src' / 'train', 'a4')
    with pytest.raises(DatasetError, match=r'models holds JSON files of labelme, but its name is none of train'):
        find_labelme(tmp_path / 'src', classes, None)
    (tmp_path / 'src' / 'models' / 'config.json').unlink()
    with pytest.raises(DatasetError, match=r'src and its folder train both hold JSON files of labelme'):
        find_labelme(tmp_path / 'src', classes, None)
    (tmp_path / 'src' / 'Test').mkdir()
    with pytest.raises(DatasetError, match=r'no JSON files of labelme in .*src/Test: add them'):
        find_labelme(tmp_path / 'src', classes, None)


@pytest.mark.parametrize(('change', 'reason'), [
    ({'shapes': [shape('cat', SQUARE)]}, r'a.json holds class "cat", which is not in the classes file'),
    ({'shapes': [shape('box', SQUARE[:2], 'line')]}, r'a.json holds a shape of type line, which has no area'),
    ({'shapes': [shape('box', [[1]])]}, r'a.json is no file of labelme'),
    ({'shapes': [shape('box', [[1, 2], [1, float('inf')]], 'circle')]}, r'a.json is no file of labelme: a corner'),
    ({'shapes': [shape('box', [*SQUARE, [3e9, 1]])]}, r'a.json is no file of labelme: a corner is .* far outside'),
    ({'shapes': [shape('box', [])]}, r'a.json is no file of labelme: a shape has no corner'),
    ({'imageHeight': 10**9, 'imageWidth': 10**9}, r'a.json is no file of labelme'),
    ({'shapes': [shape('box', SQUARE, 'mask', mask='eA==')]}, r'a.json is no file of labelme: a mask is no PNG'),
    ({'shapes': [{'label': 'box'}]}, r"a.json lacks 'points'"),
    ({'imageHeight': None}, r'a.json is no file of labelme'),
    ({'imageHeight': 9}, r'a.jpg is 10x8 but its labels .*a.json are 10x9'),
], ids=['unknown class', 'line', 'half a point', 'no number', 'far outside', 'no points', 'absurd size', 'bad mask',
        'key missing', 'no size', 'other size'])
def test_a_labelme_file_that_cannot_be_used_is_named(
    change: dict[str, object], reason: str, classes: Path, tmp_path: Path
) -> None:
    annotate(tmp_path / 'src' / 'train', 'a', **change)
    with pytest.raises(DatasetError, match=reason) as caught:
        convert_labelme(tmp_path / 'src', classes)
    assert '\n' not in str(caught.value)


def test_a_folder_that_labelme_did_not_write_is_refused(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no JSON files of labelme in'):
        find_labelme(tmp_path, classes, None)
    path = annotate(tmp_path / 'src' / 'train', 'a')
    (tmp_path / 'src' / 'train' / 'a.jpg').unlink()
    with pytest.raises(DatasetError, match=r'a.jpg, the image of .*a.json, is missing: add it'):
        convert_labelme(tmp_path / 'src', classes)
    image(tmp_path / 'src' / 'train' / 'a.jpg')
    path.write_text('{')
    with pytest.raises(DatasetError, match=r'cannot read .*a.json'):
        convert_labelme(tmp_path / 'src', classes)


def flat(points: list[list[float]]) -> list[float]:
    return [value for point in points for value in point]


def coco(names: list[str], segmentations: list[object], category: str = 'box') -> dict[str, Any]:
    """Return a file with the images `names`, the first of which has `segmentations`."""
    return {
        'images': [{'id': 7 + index, 'file_name': name, 'height': 8, 'width': 10} for index, name in enumerate(names)],
        'categories': [{'id': 1, 'name': 'unused'}, {'id': 5, 'name': category}],
        'annotations': [
            {'id': index, 'image_id': 7, 'category_id': 5, 'segmentation': one, 'iscrowd': 0}
            for index, one in enumerate(segmentations)
        ],
    }


def write_json(path: Path, fields: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))


def convert_coco(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_coco(root, classes, None))


# counts of runs down the columns: of the square above, outside first
RUNS = [2 * 8 + 1, 3, 5, 3, 5, 3, 5, 3, 4 + 4 * 8]


@pytest.mark.parametrize('segmentation', [
    [flat(OUTLINE)], [[1, 2], [], flat(OUTLINE)], [flat(OUTLINE), flat([[3, 2], [4, 2], [4, 3], [3, 3]])],
    {'size': [8, 10], 'counts': RUNS},
], ids=['polygon', 'parts without area', 'two parts that overlap', 'runs'])
def test_coco_areas_are_drawn(segmentation: object, classes: Path, tmp_path: Path) -> None:
    image(tmp_path / 'src' / 'train' / 'a.jpg')
    write_json(tmp_path / 'src' / 'train' / '_annotations.coco.json', coco(['a.jpg'], [segmentation]))
    assert labels_of(convert_coco(tmp_path / 'src', classes)) == expected((slice(1, 4), slice(2, 6), 1))


def test_compressed_runs_are_those_of_pycocotools(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = pytest.importorskip('pycocotools.mask')
    packed = mask.frPyObjects({'size': [8, 10], 'counts': RUNS}, 8, 10)
    segmentation = {'size': [8, 10], 'counts': packed['counts'].decode()}
    image(tmp_path / 'src' / 'train' / 'a.jpg')
    write_json(tmp_path / 'src' / 'train' / '_annotations.coco.json', coco(['a.jpg'], [segmentation]))
    assert labels_of(convert_coco(tmp_path / 'src', classes)) == expected((slice(1, 4), slice(2, 6), 1))
    monkeypatch.setitem(sys.modules, 'pycocotools.mask', None)
    with pytest.raises(DatasetError, match=r"COCO's areas need the package pycocotools: pip install pycocotools"):
        convert_coco(tmp_path / 'src', classes)


@pytest.mark.parametrize(('files', 'images'), [
    ({'train/_annotations.coco.json': 'a.jpg', 'valid/_annotations.coco.json': 'b.jpg'}, ['train/a.jpg', 'valid/b.jpg']),
    ({'annotations/instances_train2017.json': 'a.jpg', 'annotations/instances_val2017.json': 'b.jpg'},
     ['train2017/a.jpg', 'val2017/b.jpg']),
    ({'annotations/instances_Train.json': 'a.jpg', 'annotations/instances_Validation.json': 'b.jpg'},
     ['images/Train/a.jpg', 'images/Validation/b.jpg']),
    ({'trainset.json': 'a.jpg', 'valset.json': 'b.jpg'}, ['images/a.jpg', 'images/b.jpg']),
    ({'train/labels.json': 'a.jpg', 'val/labels.json': 'b.jpg'}, ['train/a.jpg', 'val/b.jpg']),
    ({'annotations/instances_train.json': 'day/a.jpg', 'annotations/instances_val.json': r'night\b.jpg'},
     ['day/a.jpg', 'night/b.jpg']),
], ids=['Roboflow', 'COCO', 'CVAT', 'plain', 'in folders', 'with folders, from Windows'])
def test_tools_lay_their_files_out_differently(
    files: dict[str, str], images: list[str], classes: Path, tmp_path: Path
) -> None:
    for name in images:
        image(tmp_path / 'src' / name)
    for name, file_name in files.items():
        write_json(tmp_path / 'src' / name, coco([file_name], [[flat(OUTLINE)]]))
    if next(iter(files)).startswith('annotations/'):
        write_json(tmp_path / 'src' / 'annotations' / 'captions_train2017.json', {})
    dataset = convert_coco(tmp_path / 'src', classes)
    assert [sample.stem for split in ('train', 'val') for sample in dataset.samples(split)] == ['a', 'b']
    assert dataset.pixels == {'train': [0, 12], 'val': [0, 12]}


def test_a_single_file_is_divided(classes: Path, tmp_path: Path) -> None:
    names = [f'{number}.jpg' for number in range(10)]
    for name in names:
        image(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_default.json', coco(names, [[flat(OUTLINE)]]))
    dataset = convert_coco(tmp_path / 'src', classes)
    assert (len(dataset.samples('train')), len(dataset.samples('val'))) == (8, 2)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_more.json', coco(['x.jpg'], []))
    with pytest.raises(DatasetError, match=r'instances_default.json belongs to none of train, val, test'):
        find_coco(tmp_path / 'src', classes, None)


@pytest.mark.parametrize(('fields', 'reason'), [
    (coco(['a.jpg'], [[flat(OUTLINE)]], 'cat'), r'instances_train.json, annotation 0 of a.jpg, holds class "cat"'),
    (coco(['a.jpg'], [[]]), r'instances_train.json, annotation 0 of a.jpg, has no polygon or mask'),
    (coco(['a.jpg'], [[[1, 2, 3]]]), r'annotation 0 of a.jpg, holds a damaged .* mask: a polygon is no list of x, y'),
    (coco(['a.jpg'], [[[1, 2, 3, 4], []]]), r'annotation 0 of a.jpg, .* mask: no polygon has three corners'),
    (coco(['a.jpg'], [{'size': [8, 10], 'counts': [3]}]), r'with runs of 3 pixels for an image of 8 rows and 10 columns'),
    (coco(['a.jpg'], [{'size': [8, 10], 'counts': [3, -3, 80]}]), r'with runs of 80 pixels for an image of 8 rows'),
    (coco(['a.jpg'], [{'size': [8, 9], 'counts': [72]}]), r'a mask of size \[8, 9\] with'),
    (coco(['a.jpg'], [{'size': [8, 10], 'counts': '1'}]), r'with runs of 1 pixels for'),
    (coco(['a.jpg'], [{'size': [8, 10], 'counts': ''}]), r'with runs of 0.* pixels for'),
    (coco(['a.jpg'], [[[1, 2, 3, 4, float('nan'), 5]]]), r'mask: a corner is not a number or far outside'),
    (coco(['a.jpg'], [[[1, 2, 3, 4, 1e9, 5]]]), r'mask: a corner is not a number or far outside'),
    ({**coco(['a.jpg'], []), 'images': [{'id': 7, 'file_name': 'a.jpg', 'height': -8, 'width': 9}]}, r'a damaged size'),
    ({**coco(['a.jpg'], [[flat(OUTLINE)]]), 'categories': []}, r'annotation 0 is of category 5 in image 7, one of which'),
    (coco(['b.jpg'], []), r'b.jpg, the image of .*instances_train.json, is missing: add it'),
    (coco(['a.jpg', 'x/a.jpg', 'x_a.jpg'], []), r'would both become train/images/x_a: rename one'),
    ({**coco([], []), 'images': [{'id': 7, 'file_name': name, 'height': 8, 'width': 10} for name in ('a.jpg', 'b.jpg')]},
     r'instances_train.json lists image id 7 twice'),
    (coco(['a.jpg', 'a.jpg'], []), r'instances_train.json lists image a.jpg twice'),
    ({**coco(['a.jpg'], []), 'categories': [{'id': 1, 'name': 'box'}, {'id': 1, 'name': 'ground'}]},
     r'instances_train.json lists category id 1 twice'),
    ({'images': []}, r"instances_train.json lacks 'categories'"),
    ({'images': [1], 'categories': []}, r"instances_train.json is no file in COCO's format"),
    ([], r'instances_train.json holds no JSON object'),
], ids=['unknown class', 'no area', 'odd corners', 'two corners', 'short mask', 'negative run', 'mask of another size',
        'short packed mask', 'empty packed mask', 'no number', 'far outside', 'negative size', 'no category', 'no image',
        'same name', 'same image id', 'same image', 'same category id', 'key missing', 'numbers', 'list'])
def test_a_coco_file_that_cannot_be_used_is_named(fields: object, reason: str, classes: Path, tmp_path: Path) -> None:
    image(tmp_path / 'src' / 'images' / 'a.jpg')
    image(tmp_path / 'src' / 'images' / 'x' / 'a.jpg')
    write_json(tmp_path / 'src' / 'annotations' / 'instances_train.json', fields)
    with pytest.raises(DatasetError, match=reason) as caught:
        convert_coco(tmp_path / 'src', classes)
    assert '\n' not in str(caught.value)


def test_coco_images_of_one_name_get_the_names_of_their_folders(classes: Path, tmp_path: Path) -> None:
    for name in ('day/a.jpg', 'night/a.jpg', 'day/b.jpg'):
        image(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'train.json', coco(['day/a.jpg', r'night\a.jpg', 'day/b.jpg'], [[flat(OUTLINE)]]))
    for hidden in ('._train.json', '.vscode/settings.json', '__MACOSX/train.json'):  # what systems and editors leave
        write_json(tmp_path / 'src' / hidden, [])
    dataset = convert_coco(tmp_path / 'src', classes)
    assert [sample.stem for sample in dataset.samples('train')] == ['day_a', 'day_b', 'night_a']


@pytest.mark.parametrize('name', ['values', 'testfeld', 'trainval'])
def test_a_coco_file_is_no_split_for_what_its_name_begins_with(name: str, classes: Path, tmp_path: Path) -> None:
    image(tmp_path / 'src' / 'a.jpg')
    image(tmp_path / 'src' / 'b.jpg')
    write_json(tmp_path / 'src' / f'{name}.json', coco(['a.jpg', 'b.jpg'], []))
    assert {split: len(pairs) for split, pairs in find_coco(tmp_path / 'src', classes, None).splits.items()} == {
        'train': 1, 'val': 1
    }


def test_an_image_in_two_coco_files_is_refused(classes: Path, tmp_path: Path) -> None:
    image(tmp_path / 'src' / 'images' / 'a.jpg')
    for name in ('train.json', 'val.json'):
        write_json(tmp_path / 'src' / name, coco(['a.jpg'], []))
    with pytest.raises(DatasetError, match=r'val.json lists .*images/a.jpg, and so does a file before it'):
        find_coco(tmp_path / 'src', classes, None)


def test_what_coco_files_get_wrong_of_an_image_can_be_skipped(classes: Path, tmp_path: Path) -> None:
    names = ['a.jpg', 'b.jpg', 'c.bmp', 'd.jpg']
    for name in names:
        image(tmp_path / 'src' / name)
    fields = coco(names, [[flat(OUTLINE)]])
    fields['annotations'] += [
        {'id': 70, 'image_id': 8, 'category_id': 1, 'segmentation': [flat(OUTLINE)]},  # category "unused"
        {'id': 71, 'image_id': 10, 'category_id': 5, 'segmentation': [[1, 2]]},
    ]
    write_json(tmp_path / 'src' / 'train.json', fields)
    skipped: list[EnetError] = []
    dataset = write_dataset(tmp_path / 'out', find_coco(tmp_path / 'src', classes, None), on_bad=skipped.append)
    assert [sample.stem for sample in dataset.samples('train')] == ['a'] and dataset.pixels == {'train': [0, 12]}
    reasons = '\n'.join(sorted(map(str, skipped)))
    for reason in ('c.bmp is no PNG or JPEG', 'annotation 70 of b.jpg, holds class "unused"', 'annotation 71 of d.jpg, hol'):
        assert reason in reasons


def test_coco_crowds_are_drawn_under_what_stands_in_them(classes: Path, tmp_path: Path) -> None:
    image(tmp_path / 'src' / 'a.jpg')
    fields = coco(['a.jpg'], [[flat(OUTLINE)]])
    everything = {'size': [8, 10], 'counts': [0, 80]}
    fields['annotations'].append({'id': 9, 'image_id': 7, 'category_id': 1, 'segmentation': everything, 'iscrowd': 1})
    fields['categories'][0]['name'] = 'ground'
    write_json(tmp_path / 'src' / 'train.json', fields)
    assert labels_of(convert_coco(tmp_path / 'src', classes)) == expected((slice(1, 4), slice(2, 6), 1), rest=0)


def test_a_folder_without_json_is_refused(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no JSON file in'):
        find_coco(tmp_path, classes, None)

"""Annotations in COCO format, as several tools write them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_files import area_ids, only_labels, pair_names, sample_names, write_json, write_photo

from enet_ros.datasets.coco import find_coco
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import DatasetError, EnetError

OUTLINE = [[2, 1], [6, 1], [6, 4], [2, 4]]  # columns 2 to 5 of rows 1 to 3: corners are points between pixels


def flat(points: list[list[float]]) -> list[float]:
    return [value for point in points for value in point]


def coco(names: list[str], segmentations: list[object], category: str = 'box', **changes: object) -> dict[str, Any]:
    """Return the content of a file with images. The first of them has an annotation for each segmentation."""
    return {
        'images': [{'id': 7 + index, 'file_name': name, 'height': 8, 'width': 10} for index, name in enumerate(names)],
        'categories': [{'id': 1, 'name': 'unused'}, {'id': 5, 'name': category}],
        'annotations': [
            {'id': index, 'image_id': 7, 'category_id': 5, 'segmentation': one, 'iscrowd': 0}
            for index, one in enumerate(segmentations)
        ],
        **changes,
    }


def convert(root: Path, classes: Path) -> Dataset:
    return write_dataset(root.parent / 'out', find_coco(root, classes, None))


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
def test_the_layouts_of_several_tools_are_found(
    files: dict[str, str], images: list[str], classes: Path, tmp_path: Path
) -> None:
    for name in images:
        write_photo(tmp_path / 'src' / name)
    for name, file_name in files.items():
        write_json(tmp_path / 'src' / name, coco([file_name], [[flat(OUTLINE)]]))
    if next(iter(files)).startswith('annotations/'):
        for name in files:  # COCO has these beside them
            write_json(tmp_path / 'src' / name.replace('instances', 'captions'), {})
        (note,) = find_coco(tmp_path / 'src', classes, None).notes
        assert f"annotations holds {len(files)} files of COCO's other tasks, for example captions_" in note
    dataset = convert(tmp_path / 'src', classes)
    assert sample_names(dataset) == {'train': ['a'], 'val': ['b']}
    assert dataset.pixels == {'train': [0, 12, 0], 'val': [0, 12, 0]}


def test_a_single_file_of_another_name_is_divided(classes: Path, tmp_path: Path) -> None:
    names = [f'{number}.jpg' for number in range(10)]
    for name in names:
        write_photo(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_default.json', coco(names, [[flat(OUTLINE)]]))
    dataset = convert(tmp_path / 'src', classes)
    assert (len(dataset.samples('train')), len(dataset.samples('val'))) == (8, 2)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_more.json', coco(['x.jpg'], []))
    with pytest.raises(DatasetError, match=r'instances_default.json has no split.* train, val, test'):
        find_coco(tmp_path / 'src', classes, None)


@pytest.mark.parametrize('folder', ['annotations', '.'])
def test_annotation_files_of_any_name_are_read(folder: str, classes: Path, tmp_path: Path) -> None:
    for name in ('train/a.jpg', 'train/b.jpg', 'val/c.jpg'):
        write_photo(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / folder / 'instances_default.json', coco(['a.jpg', 'b.jpg'], [[flat(OUTLINE)]]))
    write_json(tmp_path / 'src' / folder / 'val_instances_default.json', coco(['c.jpg'], [[flat(OUTLINE)]]))
    dataset = convert(tmp_path / 'src', classes)
    assert sample_names(dataset) == {'train': ['a', 'b'], 'val': ['c']}
    assert dataset.pixels == {'train': [0, 12, 0], 'val': [0, 12, 0]}


def test_images_in_folders_of_splits_keep_their_split(classes: Path, tmp_path: Path) -> None:
    names = ['train/a.jpg', 'train/b.jpg', 'Validation/c.jpg']
    for name in names:
        write_photo(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_default.json', coco(names, []))
    assert pair_names(find_coco(tmp_path / 'src', classes, None)) == {'train': ['a', 'b'], 'val': ['c']}


def test_an_image_that_may_be_in_two_splits_is_named(classes: Path, tmp_path: Path) -> None:
    for split in ('train', 'val'):
        write_photo(tmp_path / 'src' / 'images' / split / 'a.jpg')
    write_json(tmp_path / 'src' / 'default.json', coco(['a.jpg'], []))
    with pytest.raises(DatasetError, match=r'default.json .* its image a.jpg may be .*train/a.jpg or .*val/a.jpg'):
        find_coco(tmp_path / 'src', classes, None)


@pytest.mark.parametrize(('name', 'reason'), [
    ('captions_val.json', "captions_val.json lacks 'categories'"), ('annotations/more/notes.json', "notes.json lacks"),
    ('package.json', 'package.json lacks'),
], ids=['captions without instances', 'deeper', 'other'])
def test_an_annotation_file_that_cannot_be_read_is_named(name: str, reason: str, classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'src' / 'images' / 'a.jpg')
    write_json(tmp_path / 'src' / 'annotations' / 'instances_train.json', coco(['a.jpg'], []))
    write_json(tmp_path / 'src' / name, {})
    with pytest.raises(DatasetError, match=reason):
        find_coco(tmp_path / 'src', classes, None)


def test_images_that_no_file_lists_are_named_or_skipped(classes: Path, tmp_path: Path) -> None:
    for name in ('train/a.jpg', 'val/b.jpg', 'val/c.webp'):
        write_photo(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'annotations' / 'instances_train.json', coco(['a.jpg'], []))
    source = find_coco(tmp_path / 'src', classes, None)
    reason = r'images/val holds 2 images that no annotation file lists, for example b.jpg: .* --skip-bad'
    for root in (tmp_path / 'out', tmp_path / 'src' / 'out'):  # what a conversion wrote into SRC is not part of it
        with pytest.raises(DatasetError, match=reason):
            write_dataset(root, source)
        assert not root.exists()
        assert sample_names(write_dataset(root, source, on_bad=lambda error: None)) == {'train': ['a']}
    assert len(find_coco(tmp_path / 'src', classes, None).left_out) == 1


@pytest.mark.parametrize('name', ['../a.jpg', r'..\a.jpg', 'absolute', 'link.jpg', 'folder/a.jpg'])
def test_an_image_outside_of_src_is_refused(name: str, classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'a.jpg')
    (tmp_path / 'src').mkdir()
    if name == 'link.jpg':
        (tmp_path / 'src' / name).symlink_to(tmp_path / 'a.jpg')
    elif name == 'folder/a.jpg':
        (tmp_path / 'other').mkdir()
        write_photo(tmp_path / 'other' / 'a.jpg')
        (tmp_path / 'src' / 'folder').symlink_to(tmp_path / 'other')
    listed = str(tmp_path / 'a.jpg') if name == 'absolute' else name
    write_json(tmp_path / 'src' / 'train.json', coco([listed], []))
    source = find_coco(tmp_path / 'src', classes, None)
    with pytest.raises(DatasetError, match=r'.jpg is outside of .*src: .* --allow-outside'):
        write_dataset(tmp_path / 'out', source)
    assert not (tmp_path / 'out').exists()
    assert len(write_dataset(tmp_path / 'out', replace(source, root=None)).samples('train')) == 1


def test_a_declared_size_allocates_nothing_before_it_is_compared(classes: Path, tmp_path: Path) -> None:
    huge = [{'id': 7, 'file_name': 'a.jpg', 'height': 60_000, 'width': 60_000}]
    write_photo(tmp_path / 'src' / 'a.jpg')
    write_json(tmp_path / 'src' / 'train.json', coco(['a.jpg'], [[flat(OUTLINE)]], images=huge))
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r'a.jpg, is not valid: it is for an image of "60000x60000", but .* 10x8 pixels'):
        convert(tmp_path / 'src', classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize(('fields', 'reason'), [
    (coco(['a.jpg'], [[flat(OUTLINE)]], 'cat'), r'instances_train.json, annotation 0 of a.jpg, .* "cat"'),
    (coco(['a.jpg'], [[]]), r'instances_train.json, annotation 0 of a.jpg, has no polygon or mask'),
    (coco(['a.jpg'], [[[1, 2, 3]]]), r'annotation 0 of a.jpg, .* a polygon is not a list x, y'),
    (coco([5], []), r'instances_train.json is not valid'),
    (coco(['x\0.jpg'], []), r'instances_train.json is not valid: .* cannot be the path of a file'),
    (coco(['x\ny.jpg'], []), r'instances_train.json is not valid: "x.*ny.jpg" cannot be the path of a file'),
    (coco(['a.jpg'], [], annotations=[{'id': 'x\n' * 99, 'category_id': 'y\n' * 99, 'image_id': 'z\n' * 99}]),
     r'instances_train.json: annotation .* is of category .* in image'),
    (coco([''], []), r'instances_train.json is not valid: "" cannot be the path of a file'),
    (coco(['a.jpg'], [[flat(OUTLINE)]], ['box']), r'annotation 0 of a.jpg, uses class'),
    (coco([], [], images=[{'id': 7, 'file_name': 'a.jpg', 'height': -8, 'width': 9}]),
     r'instances_train.json, image a.jpg, is not valid'),
    (coco(['a.jpg'], [[flat(OUTLINE)]], categories=[]),
     r'instances_train.json: annotation 0 is of category 5 in image 7'),
    (coco(['b.jpg'], []), r'b.jpg, the image of .*instances_train.json, is missing'),
    (coco(['a.jpg', 'x/a.jpg', 'x_a.jpg'], []), r'would both become train/images/x_a'),
    (coco([], [], images=[{'id': 7, 'file_name': name, 'height': 8, 'width': 10} for name in ('a.jpg', 'b.jpg')]),
     r'instances_train.json lists image id 7 twice'),
    (coco(['a.jpg', 'a.jpg'], []), r'instances_train.json lists image a.jpg twice'),
    (coco(['a.jpg'], [], categories=[{'id': 1, 'name': 'box'}, {'id': 1, 'name': 'ground'}]),
     r'instances_train.json lists category id 1 twice'),
    ({'images': []}, r"instances_train.json lacks 'categories'"),
    ({'images': [1], 'categories': []}, r'instances_train.json is not valid'),
    ([], r'instances_train.json is not valid'),
], ids=['unknown class', 'no area', 'odd corners', 'number as name', 'NUL', 'newline', 'newlines in ids', 'no name',
        'list as class', 'negative size', 'no category', 'no image', 'same name', 'same image id', 'same image',
        'same category id', 'key missing', 'numbers', 'list'])
def test_a_file_that_cannot_be_used_is_named(fields: object, reason: str, classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'src' / 'images' / 'a.jpg')
    if 'x_a' in reason:
        write_photo(tmp_path / 'src' / 'images' / 'x' / 'a.jpg')
    write_json(tmp_path / 'src' / 'annotations' / 'instances_train.json', fields)
    with pytest.raises(DatasetError, match=reason) as caught:
        convert(tmp_path / 'src', classes)
    assert '\n' not in str(caught.value)


def test_images_of_the_same_name_get_the_names_of_their_folders(classes: Path, tmp_path: Path) -> None:
    for name in ('day/a.jpg', 'night/a.jpg', 'day/b.jpg'):
        write_photo(tmp_path / 'src' / 'images' / name)
    write_json(tmp_path / 'src' / 'train.json', coco(['day/a.jpg', r'night\a.jpg', 'day/b.jpg'], [[flat(OUTLINE)]]))
    for hidden in ('._train.json', '.vscode/settings.json', '__MACOSX/train.json'):  # files of systems and editors
        write_json(tmp_path / 'src' / hidden, [])
    dataset = convert(tmp_path / 'src', classes)
    assert sample_names(dataset) == {'train': ['day_a', 'day_b', 'night_a']}


@pytest.mark.parametrize('name', ['values', 'testfeld', 'trainval'])
def test_a_word_that_only_starts_like_a_split_is_not_one(name: str, classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'src' / 'a.jpg')
    write_photo(tmp_path / 'src' / 'b.jpg')
    write_json(tmp_path / 'src' / f'{name}.json', coco(['a.jpg', 'b.jpg'], []))
    found = pair_names(find_coco(tmp_path / 'src', classes, None))
    assert {split: len(names) for split, names in found.items()} == {'train': 1, 'val': 1}


def test_an_image_in_two_files_is_refused(classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'src' / 'images' / 'a.jpg')
    for name in ('train.json', 'val.json'):
        write_json(tmp_path / 'src' / name, coco(['a.jpg'], []))
    with pytest.raises(DatasetError, match=r'val.json lists .*images/a.jpg, and so does another'):
        find_coco(tmp_path / 'src', classes, None)


def test_images_with_wrong_annotations_can_be_skipped(classes: Path, tmp_path: Path) -> None:
    names = ['a.jpg', 'b.jpg', 'c.bmp', 'd.jpg']
    for name in names:
        write_photo(tmp_path / 'src' / name)
    fields = coco(names, [[flat(OUTLINE)]])
    fields['annotations'] += [
        {'id': 70, 'image_id': 8, 'category_id': 1, 'segmentation': [flat(OUTLINE)]},  # category "unused"
        {'id': 71, 'image_id': 10, 'category_id': 5, 'segmentation': [[1, 2]]},
    ]
    write_json(tmp_path / 'src' / 'train.json', fields)
    skipped: list[EnetError] = []
    dataset = write_dataset(tmp_path / 'out', find_coco(tmp_path / 'src', classes, None), on_bad=skipped.append)
    assert sample_names(dataset) == {'train': ['a']} and dataset.pixels == {'train': [0, 12, 0]}
    reasons = '\n'.join(sorted(map(str, skipped)))
    for reason in ('c.bmp', 'annotation 70 of b.jpg, uses class "unused"', 'annotation 71 of d.jpg, is not valid'):
        assert reason in reasons


def test_crowds_are_drawn_under_single_objects(classes: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / 'src' / 'a.jpg')
    fields = coco(['a.jpg'], [[flat(OUTLINE)]])
    everything = {'size': [8, 10], 'counts': [0, 80]}
    fields['annotations'].append({'id': 9, 'image_id': 7, 'category_id': 1, 'segmentation': everything, 'iscrowd': 1})
    fields['categories'][0]['name'] = 'ground'
    write_json(tmp_path / 'src' / 'train.json', fields)
    assert only_labels(convert(tmp_path / 'src', classes)) == area_ids((slice(1, 4), slice(2, 6), 1), rest=0)


def test_a_folder_without_json_is_refused(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'no JSON file in'):
        find_coco(tmp_path, classes, None)


def test_files_that_list_no_images_are_refused(classes: Path, tmp_path: Path) -> None:
    write_json(tmp_path / 'src' / 'train.json', coco([], []))
    with pytest.raises(DatasetError, match=r'yard has no images'):
        convert(tmp_path / 'src', classes)

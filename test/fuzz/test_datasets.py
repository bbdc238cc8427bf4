"""Annotations and files of datasets: each is found, converted and read again, or refused."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import yaml
from dataset_files import CLASSES, write_json, write_labels, write_pair, write_photo
from fuzz_inputs import damaged, json_files, reads, texts, yaml_files
from hypothesis import given, settings
from hypothesis import strategies as st

from enet_ros.datasets.classes import read_classes
from enet_ros.datasets.coco import find_coco
from enet_ros.datasets.destination import targets
from enet_ros.datasets.folder import find_folder
from enet_ros.datasets.journal import JOURNAL
from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import read_dataset
from enet_ros.datasets.searching import is_converted
from enet_ros.datasets.source import SourceDataset
from enet_ros.datasets.sunrgbd import find_sunrgbd
from enet_ros.datasets.voc import find_voc
from enet_ros.datasets.writing import write_dataset
from enet_ros.labels import VOID

_FEWER = settings(max_examples=settings.default.max_examples // 2)
_MASK = base64.b64encode(cv2.imencode('.png', np.full((3, 4), 255, np.uint8))[1].tobytes()).decode()
_NUMBERS = itertools.count()


def _convert(root: Path, find: Callable[[Path, Path], SourceDataset]) -> None:
    """Convert the dataset in `root`/source, and check what was written."""
    (root / 'classes.yaml').write_text(CLASSES)
    target = root / f'target{next(_NUMBERS)}'
    source = reads(lambda: find(root / 'source', root / 'classes.yaml'))
    written = source and reads(lambda: write_dataset(target, source))
    if written:
        for split in written.pixels:
            for sample in written.samples(split):
                image, ids = sample.read()
                assert image.shape[:2] == ids.shape and set(np.unique(ids).tolist()) <= {*range(len(written.labels)), VOID}
    shutil.rmtree(target, ignore_errors=True)


_SEGMENTATIONS = [
    [[1, 1, 8, 1, 8, 6, 1, 6]], [[0.5, 0.5, 3, 0, 3.5, 4.25], [5, 5, 9, 5, 9, 7]], {'size': [8, 10], 'counts': [10, 20, 50]},
    {'size': [8, 10], 'counts': ':0d0b1'},
]
_COCO = {
    'images': [{'id': 0, 'file_name': 'a.jpg', 'height': 8, 'width': 10},
               {'id': 1, 'file_name': 'b.jpg', 'height': 8, 'width': 10}],
    'categories': [{'id': 1, 'name': 'box'}, {'id': 2, 'name': 'person'}, {'id': 3, 'name': 'crate'}],
    'annotations': [
        {'id': number, 'image_id': number % 2, 'category_id': 1 + number % 3, 'iscrowd': int(number > 2),
         'segmentation': area} for number, area in enumerate(_SEGMENTATIONS)],
}


@given(content=json_files(_COCO))
def test_coco_is_converted_or_refused(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / 'source'
    for name in ('a', 'b'):
        write_photo(source / 'images' / 'train' / f'{name}.jpg')
    (source / 'instances_train.json').write_bytes(content)
    _convert(tmp_path, lambda root, classes: find_coco(root, classes, None))


_POINTS = {
    'polygon': [[1, 1], [8, 1.5], [8, 6]], 'rectangle': [[1, 1], [5, 5]], 'circle': [[4, 4], [6, 4]], 'point': [[3, 3]],
    'line': [[0, 0], [9, 7]], 'linestrip': [[0, 0], [9, 7], [3, 3]], 'mask': [[2, 2], [6, 5]],
    'oriented_rectangle': [[1, 1], [8, 1], [8, 6], [1, 6]],
}
_LABELME = {
    'version': '5.5.0', 'flags': {}, 'imagePath': 'a.jpg', 'imageData': None, 'imageHeight': 8, 'imageWidth': 10,
    'shapes': [{'label': 'box', 'points': points, 'shape_type': kind, 'group_id': None, 'flags': {}, 'mask': _MASK}
               for kind, points in _POINTS.items()],
}


@given(content=json_files(_LABELME))
def test_labelme_is_converted_or_refused(content: bytes, tmp_path: Path) -> None:
    for name in ('a', 'b'):
        write_photo(tmp_path / 'source' / f'{name}.jpg')
        write_json(tmp_path / 'source' / f'{name}.json', {**_LABELME, 'imagePath': f'{name}.jpg'})
    (tmp_path / 'source' / 'a.json').write_bytes(content)
    _convert(tmp_path, lambda root, classes: find_labelme(root, classes, None))


_LABELMAP = '# label:color_rgb:parts:actions\nbackground:0,0,0::\nbox:0,0,142::\nperson:220,20,60:head,arm:run\n'
_LIST = 'a\nsub/b\n"c d"\n'


@given(labelmap=texts(_LABELMAP) | damaged(_LABELMAP.encode()), names=texts(_LIST) | damaged(_LIST.encode()))
def test_voc_is_converted_or_refused(labelmap: bytes, names: bytes, tmp_path: Path) -> None:
    source = tmp_path / 'source'
    for name in ('a', 'sub/b', 'c d'):
        write_photo(source / 'JPEGImages' / f'{name}.jpg', 1, 3)
        write_labels(source / 'SegmentationClass' / f'{name}.png', [[(0, 0, 0), (0, 0, 142), (220, 20, 60)]])
    lists = source / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True, exist_ok=True)
    (lists / 'train.txt').write_bytes(names)
    (source / 'labelmap.txt').write_bytes(labelmap)
    _convert(tmp_path, lambda root, classes: find_voc(root, classes, None))


_IDS = np.array([[1, 2, 3, 7, 0]], np.uint8)


@given(data=st.data(), image=st.sampled_from((_IDS, _IDS.astype(np.uint16), np.dstack([_IDS] * 3), np.dstack([_IDS] * 4))),
       file=st.sampled_from(('images/a.jpg', 'labels/a.png')))
def test_images_and_labels_are_converted_or_refused(
    data: st.DataObject, image: np.ndarray, file: str, tmp_path: Path
) -> None:
    for name in ('a', 'b'):
        write_pair(tmp_path / 'source', name, _IDS)
    (tmp_path / 'source' / 'labels' / 'a.png').write_bytes(cv2.imencode('.png', image)[1].tobytes())
    path = tmp_path / 'source' / file
    path.write_bytes(data.draw(damaged(path.read_bytes(), 64)))
    _convert(tmp_path, lambda root, classes: find_folder(root, classes, None))


@given(content=yaml_files(yaml.safe_load(CLASSES)) | texts(CLASSES))
def test_a_classes_file_is_read_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    if classes := reads(lambda: read_classes(path)):
        assert {*classes.names.values(), *classes.coding.ids.values(), classes.rest} <= {*range(len(classes.labels)), VOID}
        assert classes.labels.palette().shape == (256, 3)


_DATASET = {
    'name': 'yard', 'source': 'drawn', 'license': 'free', 'names': ['ground', 'box'], 'colors': [[1, 2, 3], [4, 5, 6]],
    'pixels': {'train': [10, 20], 'val': [0, 3]},
}


@given(content=yaml_files(_DATASET))
def test_a_prepared_dataset_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'dataset.yaml').write_bytes(content)
    if dataset := reads(lambda: read_dataset(tmp_path)):
        assert all(len(counts) == len(dataset.labels) for counts in dataset.pixels.values())
        assert reads(lambda: dataset.samples('train')) is None  # there are no images
    assert reads(lambda: is_converted(tmp_path)) in (True, False)


@_FEWER
@given(data=st.data())
def test_the_journal_of_a_conversion_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    for name in ('a', 'b'):
        write_pair(tmp_path / 'source', name, _IDS)
    (tmp_path / 'classes.yaml').write_text(CLASSES)
    source = find_folder(tmp_path / 'source', tmp_path / 'classes.yaml', None)
    (pair,) = source.splits['train']
    first = [2, source.name, source.labels.names, source.labels.colors, source.settings, False]
    stamp = [number for path in pair.files for number in (path.stat().st_size, path.stat().st_mtime_ns)]
    entry = ['train', pair.name, stamp, [1, 1, 1]]
    target = tmp_path / f'target{next(_NUMBERS)}'
    for path in targets(target, 'train', pair):
        write_photo(path)
    lines = st.tuples(st.just(json.dumps(first).encode()), json_files(entry)) | st.tuples(json_files(first))
    (target / JOURNAL).write_bytes(b'\n'.join(data.draw(lines)))
    assert reads(lambda: is_converted(target)) in (True, False)
    reads(lambda: write_dataset(target, source))


@pytest.fixture(scope='module')
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> SourceDataset:
    """Return what was found in SUNRGBD/ and SUNRGBDtoolbox/ with two images."""
    root = tmp_path_factory.mktemp('sun') / 'source'
    folder = root / 'SUNRGBDtoolbox'
    for name in ('Metadata', 'traintestSUNRGBD'):
        (folder / name).mkdir(parents=True)
    scenes = [f'SUNRGBD/kv1/room/{number}' for number in range(2)]
    meta = np.array([(f'{scene}/image/a.jpg',) for scene in scenes], [('rgbpath', object)])
    scipy.io.savemat(folder / 'Metadata' / 'SUNRGBDMeta.mat', {'SUNRGBDMeta': meta})
    train = np.empty(1, object)
    train[:] = scenes[:1]
    scipy.io.savemat(folder / 'traintestSUNRGBD' / 'allsplit.mat', {'alltrain': train})
    with h5py.File(folder / 'Metadata' / 'SUNRGBD2Dseg.mat', 'w') as file:
        references = file.create_dataset('SUNRGBD2Dseg/seglabel', (2, 1), h5py.ref_dtype)
        for index, scene in enumerate(scenes):
            references[index, 0] = file.create_dataset(f'#refs#/{index}', data=_IDS.T).ref
            write_photo(root / scene / 'image' / 'a.jpg', *_IDS.shape)
    return find_sunrgbd(root)  # not in each example: it starts a process, where a damaged file can end SciPy


@_FEWER
@given(data=st.data())
def test_labels_in_a_matlab_file_are_converted_or_refused(
    data: st.DataObject, toolbox: SourceDataset, tmp_path: Path
) -> None:
    path = toolbox.splits['train'][0].labels_path
    content = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged(content, len(content))))
        _convert(tmp_path, lambda *_: toolbox)
    finally:
        path.write_bytes(content)

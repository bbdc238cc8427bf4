"""COCO's JSON format, which most annotation tools export: polygons and run-length masks of named categories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_corners, class_id, portable_path
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.optional import import_optional
from enet_ros.datasets.parsing import parsing, read_json
from enet_ros.datasets.prepared import SPLITS
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.splitting import UNSPLIT, Choice, hold_out
from enet_ros.errors import DatasetError

_SPLIT_NAME = re.compile(rf'({"|".join(SPLITS)})(ing|id|idation|set)?(?![a-z])')  # not "values" or "trainval"
_REMEDY = 'export the annotations again'


@dataclass(frozen=True)
class _Image:
    """Name and size of an image, and its annotations with the names of their categories in the order of the file."""

    name: str
    height: int
    width: int
    annotations: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


def find_coco(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the JSON files in `root` and its folders, and their images. `choice` selects the images to hold out of train.

    The name of a file (`annotations/instances_train2017.json`) or of its folder (`valid/_annotations.coco.json`) starts with
    its split. A single file of another name holds images that are not split yet.

    Raises:
        DatasetError: the classes file is not valid, there is no JSON file, one is damaged, lists something twice or has no
            split, or pycocotools is not installed.

    """
    rle = import_optional('pycocotools.mask', "COCO's areas")
    classes = read_classes(classes_path)
    files = sorted({*root.glob('[!.]*.json'), *root.glob('[!.]*/[!.]*.json')} - {*root.glob('__MACOSX/*')})
    files = [path for path in files if path.stem.startswith('instances_')] or files  # COCO has captions beside them
    if not files:
        raise DatasetError(f'no JSON file in {root} or its folders: pass the folder of the exported dataset')
    images: dict[Path, _Image] = {}
    found_in: dict[Path, tuple[Path, str]] = {}
    for path in files:
        part, split = _part(path, root)
        if split == UNSPLIT and len(files) > 1:
            raise DatasetError(f'{path} has no split: start its name or that of its folder with one of {", ".join(SPLITS)}, '
                               'or remove it')
        found = _read_file(path, root, part)
        if twice := [image_path for image_path in found if image_path in images and image_path.is_file()]:
            raise DatasetError(f'{path} lists {twice[0]}, and so does another file: remove the image from one of them')
        images.update(found)
        found_in.update(dict.fromkeys(found, (path, split)))
    are_short = len({image_path.stem for image_path in images}) == len(images)
    splits: dict[str, list[Pair]] = {}
    for image_path, (path, split) in found_in.items():
        name = image_path.stem if are_short else _long_name(images[image_path].name)
        splits.setdefault(split, []).append(Pair(image_path, path, name))

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return _draw(pair, images[pair.image_path], classes, rle)

    return classes.dataset(hold_out(splits, choice), to_ids)


def _part(path: Path, root: Path) -> tuple[str, str]:
    """Return the name of the part of the dataset in a file, and its split, which is `UNSPLIT` if that name has none.

    The part is train2017 for instances_train2017.json, and valid for valid/x.json.
    """
    names = [path.stem.removeprefix('instances_'), *([path.parent.name] if path.parent != root else [])]
    if path.stem.startswith('_'):
        names.reverse()
    for name in names:
        if named := _SPLIT_NAME.match(name.lower()):
            return name, named[1]
    return names[0], UNSPLIT


def _long_name(file_name: str) -> str:
    """Return a name that includes the folders, for example day_a for day/a.jpg."""
    path = PureWindowsPath(file_name).with_suffix('')
    return '_'.join(part for part in path.parts if part not in (path.anchor, '..'))


def _read_file(path: Path, root: Path, part: str) -> dict[Path, _Image]:
    fields = read_json(path, _REMEDY)
    with parsing(path, _REMEDY):
        names: dict[Any, str] = {}
        for category in fields['categories']:
            if names.setdefault(category['id'], category['name']) != category['name']:
                raise _twice(path, f'category id {category["id"]}')
        images: dict[Path, _Image] = {}
        by_id: dict[Any, _Image] = {}
        for entry in fields['images']:
            image = _Image(entry['file_name'], entry['height'], entry['width'])
            image_path = _image_path(root, path, part, entry['file_name'])
            if by_id.setdefault(entry['id'], image) is not image:
                raise _twice(path, f'image id {entry["id"]}')
            if images.setdefault(image_path, image) is not image:
                raise _twice(path, f'image {entry["file_name"]}')
        for annotation in fields['annotations']:
            category, of = annotation['category_id'], annotation['image_id']
            if category not in names or of not in by_id:
                raise DatasetError(f'{path}: annotation {annotation["id"]} is of category {category} in image {of}, but the '
                                   f'file does not list both: {_REMEDY}')
            by_id[of].annotations.append((names[category], annotation))
        return images


def _twice(path: Path, what: str) -> DatasetError:
    return DatasetError(f'{path} lists {what} twice: {_REMEDY}, or use distinct ones')


def _image_path(root: Path, path: Path, part: str, file_name: str) -> Path:
    """Return the path of an image: beside the JSON file, in `root` or its images/, or in a folder named after the part."""
    name = portable_path(file_name)
    places = [path.parent, root / 'images' / part, root / 'images', root / part, root]
    return next((place / name for place in places if (place / name).is_file()), places[0] / name)


def _draw(pair: Pair, image: _Image, classes: Classes, rle: ModuleType) -> NDArray[np.uint8]:
    """Draw the areas in their order, so that later ones cover earlier ones. Crowds come first: others are part of them."""
    with parsing(f'{pair.labels_path}, image {pair.image_path.name},', _REMEDY):
        ids = np.full((image.height, image.width), classes.rest, np.uint8)
    for name, annotation in sorted(image.annotations, key=lambda named: not named[1].get('iscrowd')):
        where = f'{pair.labels_path}, annotation {annotation.get("id")} of {pair.image_path.name},'
        index = class_id(where, name, classes.names)
        if not annotation.get('segmentation'):
            raise DatasetError(f'{where} has no polygon or mask: add one or remove the annotation')
        with parsing(where, _REMEDY):
            ids[_mask(annotation['segmentation'], ids.shape, rle)] = index
    return ids


def _mask(segmentation: Any, size: tuple[int, ...], rle: ModuleType) -> NDArray[np.bool_]:  # noqa: ANN401 - JSON
    """Return the mask (H x W, True = inside) of polygons or run lengths. pycocotools does not check them.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, a corner is not a pair of numbers or far outside, no polygon has
            an area, or the runs do not fill the image.

    """
    if isinstance(segmentation, dict):
        runs = segmentation['counts']
        runs = np.array(_unpack(runs) if isinstance(runs, str) else runs)
        if tuple(segmentation['size']) != size or runs.sum() != size[0] * size[1] or runs.min() < 0:
            raise ValueError(f'a mask of size {segmentation["size"]} with runs of {runs.sum()} pixels for an image of '
                             f'{size[0]} rows and {size[1]} columns')
        return (np.repeat(np.arange(len(runs)) % 2, runs) > 0).reshape(size[::-1]).T  # by columns, outside first
    polygons = [np.array(polygon, np.float64) for polygon in segmentation]
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) % 2:
            raise ValueError('a polygon is not a list x, y, x, y, ...')
        check_corners(polygon, size)
    areas = [polygon.tolist() for polygon in polygons if len(polygon) >= 6]
    if not areas:
        raise ValueError('no polygon has three corners')
    mask: NDArray[np.uint8] = rle.decode(rle.merge(rle.frPyObjects(areas, *size)))
    return mask > 0


def _unpack(text: str) -> list[int]:
    """Return the run lengths of a compressed mask (maskApi.c of COCO).

    Each character holds five bits of a number, the lowest first. Bit 32 means that more follow. The highest bit of the last
    character is the sign. From the fourth number on, a number is the difference to the run two before it.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return runs

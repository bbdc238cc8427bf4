"""COCO's JSON format, which most annotation tools export: polygons and run-length masks of named categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_declared_size, class_id, long_name, portable_path
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.coco_masks import read_mask
from enet_ros.datasets.optional import import_optional
from enet_ros.datasets.parsing import parsing, read_json
from enet_ros.datasets.prepared import SPLITS
from enet_ros.datasets.searching import by_folder, files_in, unused_files
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.datasets.splitting import UNSPLIT, Choice, hold_out, split_folders, split_of_folder
from enet_ros.errors import DatasetError

_SPLIT_NAME = re.compile(rf'({"|".join(SPLITS)})(ing|id|idation|set)?(?![a-z])')  # not "values" or "trainval"
_REMEDY = 'export the annotations again'
_OTHER_TASKS = ('captions_', 'image_info_', 'labels_', 'panoptic_', 'person_keypoints_', 'stuff_')
"""How COCO names the files with other annotations of the images in instances_*.json."""


@dataclass(frozen=True)
class _Image:
    """Name and size of an image, and its annotations with the names of their categories in the order of the file."""

    name: str
    height: object
    width: object
    annotations: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


def find_coco(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the JSON files in `root` and its folders, and their images. `choice` selects the images to hold out of train.

    The name of a file (`annotations/instances_train2017.json`) or of its folder (`valid/_annotations.coco.json`) starts with
    its split. If it does not, the folder of an image may be that of a split. Else the images are not split yet.

    Raises:
        DatasetError: the classes file is not valid, there is no JSON file, one is damaged, lists something twice or has no
            split, or pycocotools is not installed.

    """
    rle = import_optional('pycocotools.mask', "COCO's areas")
    classes = read_classes(classes_path)
    files = list(files_in(root, ('.json',)))
    others = [path for path in files if _is_of_other_task(path)]
    files = [path for path in files if path not in others]
    if not files:
        raise DatasetError(f'no JSON file in {root} or its folders: pass the folder of the exported dataset')
    parts = {path: _part(path, root) for path in files}
    images: dict[Path, _Image] = {}
    found_in: dict[Path, tuple[Path, str]] = {}
    for path, (part, split) in parts.items():
        # a file without a split can list images of the splits that have no file
        splits = [split] if split else [name for name in SPLITS if name not in (other for _, other in parts.values())]
        found = _read_file(path, [path.parent, root / 'images' / part, root / 'images', root / part, root],
                           [*split_folders(root / 'images', splits), *split_folders(root, splits)])
        if twice := [image_path for image_path in found if image_path in images and image_path.is_file()]:
            raise DatasetError(f'{path} lists {twice[0]}, and so does another file: remove the image from one of them')
        images.update(found)
        found_in.update({image_path: (path, split or split_of_folder(root, image_path)) for image_path in found})
    _check_splits(found_in)
    are_short = len({image_path.stem for image_path in images}) == len(images)
    of_split: dict[str, list[Pair]] = {}
    for image_path, (path, split) in found_in.items():
        name = image_path.stem if are_short else long_name(images[image_path].name)
        of_split.setdefault(split, []).append(Pair(image_path, path, name))

    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        return _draw(pair, images[pair.image_path], size, classes, rle)

    return classes.dataset(
        hold_out(of_split, choice), to_ids, root, unused_files(root, images, 'images that no annotation file lists'),
        by_folder(others, "files of COCO's other tasks"),
    )


def _is_of_other_task(path: Path) -> bool:
    """Return whether a file holds other annotations of the images that an instances_*.json beside it lists."""
    task = next((task for task in _OTHER_TASKS if path.name.startswith(task)), None)
    return task is not None and path.with_name(f'instances_{path.name.removeprefix(task)}').is_file()


def _check_splits(found_in: Mapping[Path, tuple[Path, str]]) -> None:
    """Check that all images have a split, or none and are in one file.

    Raises:
        DatasetError: it is not so.

    """
    unsplit = {image_path: path for image_path, (path, split) in found_in.items() if split == UNSPLIT}
    if unsplit and (len(unsplit) < len(found_in) or len(set(unsplit.values())) > 1):
        image_path, path = next(iter(unsplit.items()))
        raise DatasetError(f'{path} has no split, nor has the folder of its image {image_path}: start its name or that of '
                           f'its folder with one of {", ".join(SPLITS)}, or remove it')


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


def _read_file(path: Path, places: Sequence[Path], split_places: Sequence[Path]) -> dict[Path, _Image]:
    """Return the images in a file by their paths: in the first of `places` that has them, else in one of `split_places`."""
    fields = read_json(path, _REMEDY)
    with parsing(path, f'{_REMEDY} or remove the file'):
        names: dict[Any, str] = {}
        for category in fields['categories']:
            if names.setdefault(category['id'], category['name']) != category['name']:
                raise _twice(path, f'category id {category["id"]!r:.40}')
        images: dict[Path, _Image] = {}
        by_id: dict[Any, _Image] = {}
        for entry in fields['images']:
            image = _Image(entry['file_name'], entry['height'], entry['width'])
            image_path = _image_path(portable_path(entry['file_name']), places, split_places)
            if by_id.setdefault(entry['id'], image) is not image:
                raise _twice(path, f'image id {entry["id"]!r:.40}')
            if images.setdefault(image_path, image) is not image:
                raise _twice(path, f'image {entry["file_name"]}')
        for annotation in fields['annotations']:
            category, of = annotation['category_id'], annotation['image_id']
            if category not in names or of not in by_id:
                raise DatasetError(f'{path}: annotation {annotation["id"]!r:.40} is of category {category!r:.40} in image '
                                   f'{of!r:.40}, but the file does not list both: {_REMEDY}')
            by_id[of].annotations.append((names[category], annotation))
        return images


def _twice(path: Path, what: str) -> DatasetError:
    return DatasetError(f'{path} lists {what} twice: {_REMEDY}, or use distinct ones')


def _image_path(name: PurePosixPath, places: Sequence[Path], split_places: Sequence[Path]) -> Path:
    if path := next((place / name for place in places if (place / name).is_file()), None):
        return path
    found = [place / name for place in split_places if (place / name).is_file()]
    if len(found) > 1:
        raise ValueError(f'its image {name} may be {found[0]} or {found[1]}')
    return found[0] if found else places[0] / name


def _draw(pair: Pair, image: _Image, size: Size, classes: Classes, rle: ModuleType) -> NDArray[np.uint8]:
    """Draw the areas in their order, so that later ones cover earlier ones. Crowds come first: others are part of them."""
    with parsing(f'{pair.labels_path}, image {pair.image_path.name},', _REMEDY):
        check_declared_size(image.height, image.width, size)
    ids = np.full(size, classes.rest, np.uint8)
    for name, annotation in sorted(image.annotations, key=lambda named: not named[1].get('iscrowd')):
        where = f'{pair.labels_path}, annotation {annotation.get("id")!r:.40} of {pair.image_path.name},'
        index = class_id(where, name, classes.names)
        if not annotation.get('segmentation'):
            raise DatasetError(f'{where} has no polygon or mask: add one or remove the annotation')
        with parsing(where, _REMEDY):
            ids[read_mask(annotation['segmentation'], size, rle)] = index
    return ids

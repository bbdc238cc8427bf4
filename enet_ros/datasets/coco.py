"""COCO's JSON format, which most annotation tools export: polygons and run-length masks of named categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import class_id, fill_polygon, read_json
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.optional import import_optional
from enet_ros.datasets.prepared import SPLITS, DatasetError
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_share, hold_out
from enet_ros.datasets.writing import Pair, SourceDataset


@dataclass(frozen=True)
class _Image:
    """Size and annotations of an image: class ids and segmentations as COCO writes them, in the order of the file."""

    height: int
    width: int
    areas: list[tuple[int, Any]]


def find_coco(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the JSON files in `root` and its folders, and their images; `choice` holds some out of train.

    A file belongs to the split that its name (`annotations/instances_train2017.json`) or that of its folder
    (`valid/_annotations.coco.json`) starts with; a single file of another name holds images that are not split yet.

    Raises:
        DatasetError: the classes file is wrong, no JSON file is there, or one is damaged or holds an unknown class.

    """
    classes = read_classes(classes_path)
    files = sorted({*root.glob('*.json'), *root.glob('*/*.json')})
    files = [path for path in files if path.stem.startswith('instances_')] or files  # beside them, COCO has captions
    if not files:
        raise DatasetError(f'no JSON file in {root} or a folder of it: give the folder of the exported dataset')
    images: dict[Path, _Image] = {}
    splits: dict[str, list[Pair]] = {}
    for path in files:
        part = _part(path)
        split = next((split for split in SPLITS if part.lower().startswith(split)), None)
        if split is None and len(files) > 1:
            raise DatasetError(f'{path} belongs to none of {", ".join(SPLITS)}: name the file or its folder after one')
        found = _read_file(path, root, part, classes)
        images.update(found)
        if split is None:
            split, choice = 'train', choice or by_share(DEFAULT_SHARE)
        splits.setdefault(split, []).extend(Pair.of(image_path, path) for image_path in found)

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return _draw(pair.labels_path, images[pair.image_path], classes.rest)

    return SourceDataset(
        classes.name, classes.labels, hold_out(splits, choice), to_ids, classes.source, classes.license, classes.text
    )


def _part(path: Path) -> str:
    """Return what names the part of the dataset: train2017 of instances_train2017.json, valid of valid/_annotations.json."""
    return path.parent.name if path.stem.startswith('_') else path.stem.removeprefix('instances_')


def _read_file(path: Path, root: Path, part: str, classes: Classes) -> dict[Path, _Image]:
    fields = read_json(path)
    try:
        ids = {category['id']: category['name'] for category in fields['categories']}
        areas: dict[int, list[tuple[int, Any]]] = {image['id']: [] for image in fields['images']}
        for annotation in fields['annotations']:
            if annotation['category_id'] not in ids or annotation['image_id'] not in areas:
                raise DatasetError(
                    f'{path}: annotation {annotation["id"]} is of category {annotation["category_id"]} in image '
                    f'{annotation["image_id"]}, one of which the file does not list: export it again'
                )
            index = class_id(path, ids[annotation['category_id']], classes.names)
            if not annotation.get('segmentation'):
                raise DatasetError(f'{path}: annotation {annotation["id"]} has no polygon or mask: add one or remove it')
            areas[annotation['image_id']].append((index, annotation['segmentation']))
        return {
            _image_path(root, path, part, image['file_name']): _Image(image['height'], image['width'], areas[image['id']])
            for image in fields['images']
        }
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: export the annotations again') from error
    except (TypeError, AttributeError) as error:
        raise DatasetError(f'{path} is no file in COCO\'s format: {error}') from error


def _image_path(root: Path, path: Path, part: str, file_name: str) -> Path:
    """Return where the image that a file names is: beside the file, in images/, in a folder named as the part, or both."""
    places = [path.parent, root / 'images' / part, root / 'images', root / part]
    return next((place / file_name for place in places if (place / file_name).is_file()), places[0] / file_name)


def _draw(path: Path, image: _Image, rest: int) -> NDArray[np.uint8]:
    """Draw the areas in their order, later ones over earlier ones."""
    try:
        ids = np.full((image.height, image.width), rest, np.uint8)
        for index, segmentation in image.areas:
            if isinstance(segmentation, dict):
                ids[_mask(segmentation) > 0] = index
            else:
                for polygon in segmentation:
                    fill_polygon(ids, polygon, index)
    except (KeyError, TypeError, ValueError, IndexError, cv2.error) as error:
        raise DatasetError(f'{path} holds a damaged size, polygon or mask: {" ".join(str(error).split())}') from error
    return ids


def _mask(segmentation: dict[str, Any]) -> NDArray[np.uint8]:
    """Return a mask (H x W, uint8, 1 = inside) of lengths of runs down the columns, outside first, plain or compressed."""
    height, width = segmentation['size']
    counts: Sequence[int] | str = segmentation['counts']
    if isinstance(counts, str):
        mask: NDArray[np.uint8] = import_optional('pycocotools.mask', 'compressed masks').decode(segmentation)
        return mask
    return np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T.astype(np.uint8)

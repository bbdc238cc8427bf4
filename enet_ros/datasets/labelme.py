"""labelme (github.com/wkentaro/labelme): a JSON file of named shapes beside each annotated image."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_corners, class_id, portable_path
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.parsing import parsing, read_json
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.splitting import Choice, find_pairs, hold_out
from enet_ros.errors import DatasetError
from enet_ros.images.files import IMAGE_SUFFIXES, image_files

_REMEDY = 'save it with labelme again'


def find_labelme(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the annotated images in `root`, or in its train/, val/ and test/. `choice` selects those to hold out of train.

    Images without a JSON file are not annotated yet and are left out.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: the classes file is not valid, there is no JSON file, one cannot be read, two annotate the same image,
            or some are in no split.

    """
    classes = read_classes(classes_path)
    is_flat = _holds_json(root) and bool(image_files(root))
    splits = find_pairs(root, 'JSON files of labelme', _holds_json, _pairs, is_flat)
    return classes.dataset(hold_out(splits, choice), lambda pair: _draw(pair.labels_path, classes))


def _json_files(folder: Path) -> list[Path]:
    return sorted(folder.glob('[!.]*.json'))


def _holds_json(folder: Path) -> bool:
    return bool(_json_files(folder))


def _pairs(folder: Path) -> list[Pair]:
    files = _json_files(folder)
    if not files:
        raise DatasetError(f'no JSON files of labelme in {folder}: save the annotations beside the images')
    of_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('[!.]*')):
        of_stem.setdefault(path.stem, []).append(path)
    pairs: dict[Path, Pair] = {}
    for path in files:
        pair = Pair(_image_path(path, [other for other in of_stem[path.stem] if other != path]), path, path.stem)
        if (other := pairs.setdefault(pair.image_path.resolve(), pair)) is not pair:
            raise DatasetError(f'{other.labels_path} and {path} both annotate {pair.image_path}: remove one of them')
    return list(pairs.values())


def _image_path(path: Path, of_same_stem: list[Path]) -> Path:
    """Return the image that a JSON file annotates: the only other file of the same stem, else the one that it names."""
    images = [other for other in of_same_stem if other.suffix.lower() in IMAGE_SUFFIXES]
    if len(of_same_stem) == len(images) == 1:
        return images[0]
    named = read_json(path, _REMEDY).get('imagePath')
    name = portable_path(named if isinstance(named, str) else '')
    if (path.parent / name).is_file():
        return path.parent / name
    return images[0] if len(images) == 1 else path.with_name(name.name or f'{path.stem}.jpg')


def _draw(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Draw the shapes of a file in their order, so that later shapes cover earlier ones."""
    fields = read_json(path, _REMEDY)
    with parsing(path, _REMEDY):
        ids = np.full((fields['imageHeight'], fields['imageWidth']), classes.rest, np.uint8)
        for shape in fields['shapes']:
            _draw_shape(ids, path, shape, class_id(str(path), shape['label'], classes.names))
        return ids


def _draw_shape(ids: NDArray[np.uint8], path: Path, shape: Mapping[str, Any], index: int) -> None:
    """Draw a shape and its outline as labelme does: a corner lies in the pixel of its coordinates rounded down."""
    kind, points = shape.get('shape_type') or 'polygon', np.array(shape['points'], np.float64).reshape(-1, 2)
    if not len(points):
        raise ValueError('a shape has no corner')
    check_corners(points, ids.shape)
    if kind in ('polygon', 'rotation') or (kind == 'rectangle' and len(points) == 4):  # X-AnyLabeling's have four corners
        _fill(ids, points, index)
    elif kind == 'rectangle':
        (left, top), (right, bottom) = points
        _fill(ids, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), index)
    elif kind == 'circle':
        center, edge = points
        x, y = (math.floor(value) for value in center)
        cv2.circle(ids, (x, y), round(math.dist(center, edge)), index, cv2.FILLED)
    elif kind == 'mask':
        _draw_mask(ids, shape['mask'], points[0], index)
    else:
        raise DatasetError(f'{path} holds a shape of type {kind}, which has no area: draw a polygon instead')


def _fill(ids: NDArray[np.uint8], corners: NDArray[np.float64], index: int) -> None:
    cv2.fillPoly(ids, [np.floor(corners).astype(np.int32)], index)


def _draw_mask(ids: NDArray[np.uint8], encoded: str, corner: NDArray[np.float64], index: int) -> None:
    """Draw a mask (a PNG in base64) with its upper left pixel at `corner` (x, y)."""
    try:
        mask = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, cv2.error):
        mask = None
    if mask is None:
        raise ValueError('a mask is not a PNG')
    left, top = (math.floor(value) for value in corner)
    mask = mask[max(0, -top) :, max(0, -left) :]  # the part inside the image
    area = ids[max(0, top) :, max(0, left) :][: mask.shape[0], : mask.shape[1]]
    area[mask[: area.shape[0], : area.shape[1]] > 0] = index

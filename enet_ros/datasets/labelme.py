"""labelme (github.com/wkentaro/labelme): a JSON file with named shapes beside each image that was annotated."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import class_id, read_json
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_share, hold_out, split_folders
from enet_ros.datasets.writing import Pair, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import IMAGE_SUFFIXES, image_files


def find_labelme(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the annotated images in `root`, or in its train/, val/ and test/; `choice` holds some out of train.

    Images without a JSON file are not annotated yet and left out.

    Raises:
        DatasetError: the classes file is wrong, no JSON file is there, two annotate one image, or a folder with some belongs
            to no split.

    """
    classes = read_classes(classes_path)
    flat = _holds_json(root) and bool(image_files(root))
    folders = split_folders(root, 'JSON files of labelme', _holds_json, flat)
    splits = {split: [pair for folder in folders[split] for pair in _pairs(folder)] for split in folders}
    if not splits:
        splits, choice = {'train': _pairs(root)}, choice or by_share(DEFAULT_SHARE)

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return _draw(pair.labels_path, classes)

    return SourceDataset(
        classes.name, classes.labels, hold_out(splits, choice), to_ids, classes.source, classes.license, classes.text
    )


def _holds_json(folder: Path) -> bool:
    return any(folder.glob('[!.]*.json'))


def _pairs(folder: Path) -> list[Pair]:
    beside: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('[!.]*')):
        beside.setdefault(path.stem, []).append(path)
    files = sorted(folder.glob('[!.]*.json'))
    if not files:
        raise DatasetError(f'no JSON files of labelme in {folder}: save the annotations beside the images')
    pairs: dict[Path, Pair] = {}
    for path in files:
        pair = Pair(_image_path(path, [other for other in beside[path.stem] if other != path]), path, path.stem)
        if (other := pairs.setdefault(pair.image_path.resolve(), pair)) is not pair:
            raise DatasetError(f'{other.labels_path} and {path} both annotate {pair.image_path}: take one out')
    return list(pairs.values())


def _image_path(path: Path, beside: list[Path]) -> Path:
    """Return the image that a file annotates: the only one of `beside`, files of its name, else the one that it names."""
    images = [other for other in beside if other.suffix.lower() in IMAGE_SUFFIXES]
    if len(beside) == len(images) == 1:
        return images[0]
    named = read_json(path).get('imagePath')
    name = PureWindowsPath(named if isinstance(named, str) else '').as_posix()  # with slashes, whatever it was written on
    named_path = path.parent / name
    if named_path.is_file():
        return named_path
    return images[0] if len(images) == 1 else path.with_name(PurePosixPath(name).name or f'{path.stem}.jpg')


def _draw(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Draw the shapes of a file in their order, later ones over earlier ones."""
    fields = read_json(path)
    try:
        ids = np.full((fields['imageHeight'], fields['imageWidth']), classes.rest, np.uint8)
        for shape in fields['shapes']:
            _draw_shape(ids, path, shape, class_id(str(path), shape['label'], classes.names))
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: save it with labelme again') from error
    except (TypeError, ValueError, OverflowError, IndexError, MemoryError, cv2.error) as error:
        raise DatasetError(f'{path} is no file of labelme: {" ".join(str(error).split())}') from error
    return ids


def _draw_shape(ids: NDArray[np.uint8], path: Path, shape: Mapping[str, Any], index: int) -> None:
    """Draw a shape with its outline, as labelme does: a corner is in the pixel that its coordinates, cut off, give."""
    kind, points = shape.get('shape_type') or 'polygon', np.array(shape['points'], np.float64).reshape(-1, 2)
    if not len(points):
        raise ValueError('a shape has no corner')
    if not (np.abs(points) <= 4 * max(ids.shape)).all():  # nor of what is no number
        raise ValueError('a corner is not a number or far outside the image')
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
    """Draw a mask, a PNG in base64, whose upper left pixel lies at `corner`."""
    try:
        mask = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, cv2.error):
        mask = None
    if mask is None:
        raise ValueError('a mask is no PNG')
    left, top = (math.floor(value) for value in corner)
    mask = mask[max(0, -top) :, max(0, -left) :]  # what lies inside the image
    area = ids[max(0, top) :, max(0, left) :][: mask.shape[0], : mask.shape[1]]
    area[mask[: area.shape[0], : area.shape[1]] > 0] = index

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
from enet_ros.datasets.prepared import DatasetError, image_files
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_share, hold_out, split_of
from enet_ros.datasets.writing import Pair, SourceDataset


def find_labelme(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the annotated images in `root`, or in its train/, val/ and test/; `choice` holds some out of train.

    Images without a JSON file are not annotated yet and left out.

    Raises:
        DatasetError: the classes file is wrong, no JSON file is there, or one has no image beside it.

    """
    classes = read_classes(classes_path)
    splits: dict[str, list[Pair]] = {}
    for folder in sorted({path.parent for path in root.glob('*/*.json')}):
        splits.setdefault(split_of(folder, folder.name), []).extend(_pairs(folder))
    if not splits:
        splits, choice = {'train': _pairs(root)}, choice or by_share(DEFAULT_SHARE)

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return _draw(pair.labels_path, classes)

    return SourceDataset(
        classes.name, classes.labels, hold_out(splits, choice), to_ids, classes.source, classes.license, classes.text
    )


def _pairs(folder: Path) -> list[Pair]:
    images: dict[str, list[Path]] = {}
    for path in image_files(folder):
        images.setdefault(path.stem, []).append(path)
    files = sorted(folder.glob('*.json'))
    if not files:
        raise DatasetError(f'no JSON files of labelme in {folder}: save the annotations beside the images')
    return [Pair(_image_path(path, images.get(path.stem, [])), path, path.stem) for path in files]


def _image_path(path: Path, images: list[Path]) -> Path:
    """Return the image that a file annotates: the one of its name in `images`, else, if in doubt, the one that it names."""
    if len(images) == 1:
        return images[0]
    named = read_json(path).get('imagePath')
    name = PureWindowsPath(named if isinstance(named, str) else '').as_posix()  # with slashes, whatever it was written on
    beside = path.with_name(PurePosixPath(name).name or f'{path.stem}.jpg')
    return path.parent / name if name and (path.parent / name).is_file() else beside


def _draw(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Draw the shapes of a file in their order, later ones over earlier ones."""
    fields = read_json(path)
    try:
        ids = np.full((fields['imageHeight'], fields['imageWidth']), classes.rest, np.uint8)
        for shape in fields['shapes']:
            _draw_shape(ids, path, shape, class_id(str(path), shape['label'], classes.names))
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: save it with labelme again') from error
    except (TypeError, ValueError, OverflowError, IndexError, cv2.error) as error:
        raise DatasetError(f'{path} is no file of labelme: {" ".join(str(error).split())}') from error
    return ids


def _draw_shape(ids: NDArray[np.uint8], path: Path, shape: Mapping[str, Any], index: int) -> None:
    """Draw a shape with its outline, as labelme does: a corner is in the pixel that its coordinates, cut off, give."""
    kind, points = shape.get('shape_type') or 'polygon', np.array(shape['points'], np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError('a corner is not a number')
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

"""labelme (github.com/wkentaro/labelme): a JSON file with named shapes beside each image that was annotated."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import class_id, fill_polygon, read_json
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.prepared import SPLITS, DatasetError, image_files
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_share, hold_out
from enet_ros.datasets.writing import Pair, SourceDataset


def find_labelme(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the annotated images in `root`, or in its train/, val/ and test/; `choice` holds some out of train.

    Images without a JSON file are not annotated yet and left out.

    Raises:
        DatasetError: the classes file is wrong, no JSON file is there, or one has no image beside it.

    """
    classes = read_classes(classes_path)
    splits = {split: _pairs(root / split) for split in SPLITS if (root / split).is_dir()}
    if not splits:
        splits, choice = {'train': _pairs(root)}, choice or by_share(DEFAULT_SHARE)

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return _draw(pair.labels_path, classes)

    return SourceDataset(
        classes.name, classes.labels, hold_out(splits, choice), to_ids, classes.source, classes.license, classes.text
    )


def _pairs(folder: Path) -> list[Pair]:
    images = {path.stem: path for path in image_files(folder)}
    files = sorted(folder.glob('*.json'))
    if not files:
        raise DatasetError(f'no JSON files of labelme in {folder}: save the annotations beside the images')
    for path in files:
        if path.stem not in images:
            raise DatasetError(f'{path} has no PNG or JPEG image of its name beside it: add the image or remove the file')
    return [Pair.of(images[path.stem], path) for path in files]


def _draw(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Draw the shapes of a file in their order, later ones over earlier ones."""
    fields = read_json(path)
    try:
        ids = np.full((fields['imageHeight'], fields['imageWidth']), classes.rest, np.uint8)
        for shape in fields['shapes']:
            _draw_shape(ids, path, shape, class_id(path, shape['label'], classes.names))
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: save it with labelme again') from error
    except (TypeError, ValueError, IndexError, cv2.error) as error:
        raise DatasetError(f'{path} is no file of labelme: {" ".join(str(error).split())}') from error
    return ids


def _draw_shape(ids: NDArray[np.uint8], path: Path, shape: Mapping[str, Any], index: int) -> None:
    kind, points = shape.get('shape_type') or 'polygon', shape['points']
    if kind == 'polygon':
        fill_polygon(ids, points, index)
    elif kind == 'rectangle':
        (left, top), (right, bottom) = points
        fill_polygon(ids, [(left, top), (right, top), (right, bottom), (left, bottom)], index)
    elif kind == 'circle':
        (x, y), edge = points
        radius = np.hypot(x - edge[0], y - edge[1])
        cv2.circle(ids, (round(x), round(y)), round(radius), index, cv2.FILLED)
    elif kind == 'mask':
        _draw_mask(ids, shape['mask'], points[0], index)
    else:
        raise DatasetError(f'{path} holds a shape of type {kind}, which has no area: draw a polygon instead')


def _draw_mask(ids: NDArray[np.uint8], encoded: str, corner: tuple[float, float], index: int) -> None:
    """Draw a mask, a PNG in base64, whose upper left pixel lies at `corner`."""
    try:
        mask = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, cv2.error):
        mask = None
    if mask is None:
        raise ValueError('a mask is no PNG')
    left, top = round(corner[0]), round(corner[1])
    area = ids[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[mask[: area.shape[0], : area.shape[1]] > 0] = index

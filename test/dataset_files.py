"""Files of small datasets for tests of converters, and what a converter made of them. Own data is a yard of 3 classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.images.files import read_labels, write_image
from enet_ros.labels import VOID, LabelSet

CLASSES = """
name: yard
source: drawn by a test
license: free
classes:
  - {name: ground, color: [128, 64, 128], from: [1, 7, [128, 64, 128], [9, 9, 9]]}
  - {name: box, color: [0, 0, 142], from: [2, box, crate]}
  - {name: person, color: [220, 20, 60], from: [3]}
void: [0, [0, 0, 0], __ignore__]
"""
COLORS = [[(128, 64, 128), (9, 9, 9), (0, 0, 142), (220, 20, 60), (0, 0, 0)]]
"""A row of the colours that `CLASSES` lists, and the ids they stand for:"""
COLOR_IDS = [[0, 0, 1, 2, VOID]]


LABELS = LabelSet(('ground', 'box', 'person'), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def read_ids(pair: Pair, _: Size) -> NDArray[np.uint8]:
    """Read labels that are ids already."""
    return read_labels(pair.labels_path)


def contents(root: Path) -> dict[str, bytes]:
    """Return the bytes of all files in `root`."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


def write_photo(path: Path, height: int = 8, width: int = 10) -> None:
    """Write an image of one colour."""
    write_image(path, np.full((height, width, 3), 77, np.uint8))


def write_labels(path: Path, labels: ArrayLike) -> None:
    """Write a label image of ids (H x W) or of RGB colours (H x W x 3)."""
    pixels = np.array(labels, np.uint8)
    write_image(path, pixels if pixels.ndim == 2 else pixels[..., ::-1])


def write_pair(folder: Path, name: str, labels: ArrayLike) -> None:
    """Write images/NAME.jpg and labels/NAME.png of ids or colours."""
    write_photo(folder / 'images' / f'{name}.jpg', *np.shape(labels)[:2])
    write_labels(folder / 'labels' / f'{name}.png', labels)


def write_json(path: Path, fields: object) -> Path:
    """Write a JSON file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))
    return path


def area_ids(*areas: tuple[slice, slice, int], rest: int = VOID) -> list[list[int]]:
    """Return the ids (8 x 10) of areas (rows, columns, class id), later ones over earlier ones."""
    ids = np.full((8, 10), rest)
    for rows, columns, index in areas:
        ids[rows, columns] = index
    return ids.tolist()


def only_labels(dataset: Dataset, split: str = 'train') -> list[list[int]]:
    """Return the labels of a split with one sample."""
    (sample,) = dataset.samples(split)
    return sample.read()[1].tolist()


def pair_names(source: SourceDataset) -> dict[str, list[str]]:
    """Return the names of the pairs that a converter found, by split."""
    return {split: [pair.name for pair in pairs] for split, pairs in source.splits.items()}


def sample_names(dataset: Dataset) -> dict[str, list[str]]:
    """Return the names of the samples, by split."""
    return {split: [sample.stem for sample in dataset.samples(split)] for split in dataset.pixels}

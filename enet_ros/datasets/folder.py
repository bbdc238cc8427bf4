"""A folder of one's own: images/ and labels/ with PNGs of ids or colours, either divided into train/, val/, test/ or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.classes import read_classes
from enet_ros.datasets.prepared import some_images
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_share, hold_out, split_folders
from enet_ros.datasets.writing import Pair, SourceDataset
from enet_ros.errors import DatasetError


def find_folder(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the images and labels in `root`; `choice` holds some out of train.

    Raises:
        DatasetError: the classes file is wrong, neither layout is there, or a folder with images belongs to no split.

    """
    classes = read_classes(classes_path)
    folders = split_folders(root, 'images/', _holds_images, _holds_images(root))
    splits = {split: [pair for folder in folders[split] for pair in _pairs(folder)] for split in folders}
    if not splits and _holds_images(root):
        splits, choice = {'train': _pairs(root)}, choice or by_share(DEFAULT_SHARE)
    if not splits:
        raise DatasetError(f'no images/ and no train/images/ in {root}: give the folder that holds images/ and labels/')

    def to_ids(pair: Pair) -> NDArray[np.uint8]:
        return classes.coding.read(pair.labels_path)

    return SourceDataset(
        classes.name, classes.labels, hold_out(splits, choice), to_ids, classes.source, classes.license, classes.text
    )


def _holds_images(folder: Path) -> bool:
    return (folder / 'images').is_dir()


def _pairs(folder: Path) -> list[Pair]:
    return [Pair.of(path, folder / 'labels' / f'{path.stem}.png') for path in some_images(folder / 'images')]

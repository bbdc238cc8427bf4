"""Own data as folders: images/ and labels/ with PNGs of ids or colours, divided into train/, val/, test/ or not."""

from __future__ import annotations

from pathlib import Path

from enet_ros.datasets.classes import read_classes
from enet_ros.datasets.prepared import some_images
from enet_ros.datasets.searching import files_of, unused_files
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.splitting import Choice, find_pairs, hold_out
from enet_ros.errors import DatasetError


def find_folder(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the images and labels in `root`. `choice` selects the images to hold out of train.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: the classes file is not valid, `root` has neither layout, or images are in no split.

    """
    classes = read_classes(classes_path)
    splits = find_pairs(root, 'images/', _holds_images, _pairs, is_flat=_holds_images(root))
    return classes.dataset(
        hold_out(splits, choice), lambda pair, _: classes.coding.read(pair.labels_path),
        left_out=unused_files(root, files_of(splits), 'images or labels in no split or without a counterpart'),
    )


def _holds_images(folder: Path) -> bool:
    return (folder / 'images').is_dir()


def _pairs(folder: Path) -> list[Pair]:
    if not _holds_images(folder):
        raise DatasetError(f'no images/ and no train/images/ in {folder}: pass the folder that holds images/ and labels/')
    return [Pair.of(path, folder / 'labels' / f'{path.stem}.png') for path in some_images(folder / 'images')]

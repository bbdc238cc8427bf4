"""Read the prepared layout, which every converter writes and which training and evaluation read.

dataset.yaml            names, colours, pixels of each class, source, licence
train/images/*.png|jpg  camera images
train/labels/*.png      8-bit class ids, 255 = void; same stem and size as the image
val/..., test/...       likewise
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.parsing import parsing, read_yaml, text_of
from enet_ros.errors import DatasetError
from enet_ros.images.files import image_files, read_image, read_labels
from enet_ros.labels import LabelSet

SPLITS = ('train', 'val', 'test')
_REMEDY = 'correct it or convert the dataset again, to another folder'


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth."""

    image_path: Path
    labels_path: Path

    @property
    def split(self) -> str:
        """Return the name of its split."""
        return self.image_path.parent.parent.name

    @property
    def stem(self) -> str:
        """Return the name that image and labels share."""
        return self.image_path.stem

    @property
    def key(self) -> tuple[str, str]:
        """Return split and stem, which tell it from all others of its dataset."""
        return self.split, self.stem

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H x W x 3, uint8, BGR) and the labels (H x W class ids, uint8, 255 = void).

        Raises:
            ImageFileError: a file is missing, damaged or of the wrong kind.
            DatasetError: image and labels differ in size.

        """
        image, labels = read_image(self.image_path), read_labels(self.labels_path)
        check_size(self.image_path, image, self.labels_path, labels)
        return image, labels


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk."""

    root: Path
    name: str
    labels: LabelSet
    pixels: dict[str, list[int]]
    """For each split, the number of pixels of each class in label-id order. Void is not counted."""
    source: str
    license: str

    def samples(self, split: str) -> list[Sample]:
        """Return the samples of `split`, sorted by name.

        Raises:
            DatasetError: the split is missing or empty, an image has no labels, labels have no image, or two images have
                the same labels.

        """
        folder = self.root / split
        images = image_files(folder / 'images') if (folder / 'images').is_dir() else []
        if not images:
            there = ', '.join(name for name in SPLITS if (self.root / name / 'images').is_dir())
            raise DatasetError(f'no images in {folder / "images"}: choose a split of {there or "another dataset"}')
        samples = [Sample(path, folder / 'labels' / f'{path.stem}.png') for path in images]
        for sample in samples:
            check_labels_exist(sample.image_path, sample.labels_path)
        stems: dict[str, Path] = {}
        for sample in samples:
            if (first := stems.setdefault(sample.stem, sample.image_path)) != sample.image_path:
                raise DatasetError(f'{first} and {sample.image_path.name} would have the same labels: remove one of them')
        if alone := sorted(path for path in (folder / 'labels').glob('[!.]*.png') if path.stem not in stems):
            raise DatasetError(f'{alone[0]} has no image in {folder / "images"}: add it or remove the labels')
        return samples


def read_dataset(root: Path) -> Dataset:
    """Open a prepared dataset. Unknown keys of dataset.yaml, such as those of earlier versions, are ignored.

    Raises:
        DatasetError: `root` does not hold one, or its dataset.yaml lacks something or contradicts itself.

    """
    path = root / 'dataset.yaml'
    if not path.exists():
        raise DatasetError(f'no dataset.yaml in {root}: make a prepared dataset with "enet convert"')
    fields = read_yaml(path, _REMEDY)
    with parsing(path, _REMEDY):
        labels = LabelSet(tuple(fields['names']), tuple(tuple(color) for color in fields['colors']))
        for split, counts in fields['pixels'].items():
            if len(counts) != len(labels) or not all(isinstance(count, int) and count >= 0 for count in counts):
                raise ValueError(f'pixels of split {split} must be {len(labels)} counts, one for each class')
        return Dataset(
            root, text_of(fields, 'name'), labels, fields['pixels'], text_of(fields, 'source'), text_of(fields, 'license')
        )


def some_images(folder: Path) -> list[Path]:
    """Return the images in `folder`, at least one, sorted by name.

    Raises:
        ImageFileError: the folder cannot be read.
        DatasetError: the folder holds no image.

    """
    images = image_files(folder)
    if not images:
        raise DatasetError(f'no PNG or JPEG images in {folder}: add them or choose the right folder')
    return images


def check_labels_exist(image_path: Path, labels_path: Path) -> None:
    """Check that an image has a label file.

    Raises:
        DatasetError: the file is missing.

    """
    if not labels_path.is_file():
        raise DatasetError(f'{image_path} has no labels {labels_path}: add them or remove the image')


def check_size(image_path: Path, image: NDArray[np.uint8], labels_path: Path, labels: NDArray[np.uint8]) -> None:
    """Check that an image (H x W x 3) and its labels (H x W) have the same size.

    Raises:
        DatasetError: they differ.

    """
    if image.shape[:2] != labels.shape:
        raise DatasetError(
            f'{image_path} is {image.shape[1]}x{image.shape[0]} but its labels {labels_path} are '
            f'{labels.shape[1]}x{labels.shape[0]}: they must have the same size'
        )


def check_ids(path: Path, ids: NDArray[np.uint8], allowed: Iterable[int]) -> None:
    """Check that the label image `path`, read as `ids`, holds no label ids except `allowed`.

    Raises:
        DatasetError: it does. The error names the file and the lowest such id.

    """
    unknown = set(np.unique(ids).tolist()) - set(allowed)
    if unknown:
        raise DatasetError(f'{path} holds label id {min(unknown)}, which is not a class: correct the file or convert the '
                           'dataset again')

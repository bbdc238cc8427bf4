"""The prepared layout that training and evaluation read, whatever dataset it came from.

dataset.yaml            names, colours, pixels per class, mean and std, source, licence
train/images/*.png|jpg  camera images
train/labels/*.png      8-bit class ids, 255 = void; same stem and size as the image
val/..., test/...       likewise
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from enet_ros.errors import DatasetError, EnetError
from enet_ros.images.files import image_files, read_image, read_labels
from enet_ros.labels import LabelSet

SPLITS = ('train', 'val', 'test')


def some_images(folder: Path) -> list[Path]:
    """Return the images in `folder` by name, of which there must be one.

    Raises:
        DatasetError: the folder cannot be read or holds no image.

    """
    images = image_files(folder)
    if not images:
        raise DatasetError(f'no PNG or JPEG images in {folder}: add them, or give the right folder')
    return images


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth."""

    image_path: Path
    labels_path: Path

    @property
    def split(self) -> str:
        """Return the split that it is in."""
        return self.image_path.parent.parent.name

    @property
    def stem(self) -> str:
        """Return the name that image and labels share."""
        return self.image_path.stem

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H x W x 3, BGR) and the labels (H x W class ids, 255 = void).

        Raises:
            EnetError: a file cannot be read, or the two differ in size.

        """
        image, labels = read_image(self.image_path), read_labels(self.labels_path)
        if image.shape[:2] != labels.shape:
            raise DatasetError(
                f'{self.image_path} is {image.shape[1]}x{image.shape[0]} but its labels {self.labels_path} are '
                f'{labels.shape[1]}x{labels.shape[0]}: they must be of one size'
            )
        return image, labels


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk."""

    root: Path
    name: str
    labels: LabelSet
    pixels: dict[str, list[int]]
    """By split: how many pixels each class has, in label-id order; void is not counted."""
    source: str
    license: str

    def samples(self, split: str) -> list[Sample]:
        """Return the samples of `split` in the order of their names.

        Raises:
            DatasetError: the split is not there or empty, an image has no labels, or labels have no image.

        """
        folder = self.root / split
        images = image_files(folder / 'images') if (folder / 'images').is_dir() else []
        if not images:
            there = [name for name in SPLITS if (self.root / name / 'images').is_dir()]
            raise DatasetError(f'no images in {folder / "images"}: choose a split of {", ".join(there) or "none is there"}')
        samples = [Sample(path, folder / 'labels' / f'{path.stem}.png') for path in images]
        for sample in samples:
            if not sample.labels_path.is_file():
                raise DatasetError(f'{sample.image_path} has no labels {sample.labels_path}: add them or remove the image')
        stems = {sample.stem for sample in samples}
        if alone := sorted(path for path in (folder / 'labels').glob('[!.]*.png') if path.stem not in stems):
            raise DatasetError(f'{alone[0]} has no image in {folder / "images"}: add it or remove the labels')
        return samples


def read_dataset(root: Path) -> Dataset:
    """Open a prepared dataset.

    Raises:
        DatasetError: `root` holds none, or its dataset.yaml lacks or contradicts something.

    """
    path = root / 'dataset.yaml'
    try:
        fields = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DatasetError(f'no dataset.yaml in {root}: make a prepared dataset with "enet convert"') from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f'cannot read {path}: {" ".join(str(error).split())}') from error
    try:
        labels = LabelSet(tuple(fields['names']), tuple(tuple(color) for color in fields['colors']))
        dataset = Dataset(root, fields['name'], labels, fields['pixels'], fields['source'], fields['license'])
        for key in ('name', 'source', 'license'):
            if not isinstance(fields[key], str) or not fields[key]:
                raise DatasetError(f'{key} is {fields[key]!r}: it must be text')
        for split, counts in dataset.pixels.items():
            if len(counts) != len(labels) or not all(isinstance(count, int) and count >= 0 for count in counts):
                raise DatasetError(f'pixels of split {split} must be {len(labels)} counts, one for each class')
    except KeyError as error:
        raise DatasetError(f'{path} lacks {error}: add it, or convert the dataset again') from error
    except (TypeError, AttributeError, EnetError) as error:
        raise DatasetError(f'{path} is wrong: {error}; mend it or convert the dataset again') from error
    return dataset


def check_ids(path: Path, ids: NDArray[np.uint8], allowed: Iterable[int]) -> None:
    """Refuse label ids outside `allowed`.

    Raises:
        DatasetError: naming the file and the first id that is not allowed.

    """
    unknown = set(np.unique(ids).tolist()) - set(allowed)
    if unknown:
        raise DatasetError(f'{path} holds label id {min(unknown)}, which is no class')



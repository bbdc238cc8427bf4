"""Cityscapes (Cordts et al. 2016): leftImg8bit/ with gtFine/ or gtCoarse/. Label ids become the 19 train ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.coding import Coding
from enet_ros.datasets.prepared import some_images
from enet_ros.datasets.searching import PICTURE_SUFFIXES, by_folder, files_in, files_of, unused_files
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.labels import CITYSCAPES, CITYSCAPES_LABEL_IDS, VOID

_IMAGE_SUFFIX = '_leftImg8bit'
# The official scripts define label ids 0 to 33. Those that are not scored are void, among them all in the test labels.
# Label id -1 (license plate) does not occur in label images.
_CODING = Coding(ids={**dict.fromkeys(range(34), VOID), **{id: index for index, id in enumerate(CITYSCAPES_LABEL_IDS)}})


def find_cityscapes(root: Path, coarse: bool = False) -> SourceDataset:
    """Find the splits of Cityscapes in `root`: with the labels of gtFine/ or, if `coarse`, those of gtCoarse/.

    With `coarse`, train_extra becomes part of train. The test split is left out if it has no label files.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: `root` has no split, or one has no images.

    """
    kind = 'gtCoarse' if coarse else 'gtFine'
    splits: dict[str, list[Pair]] = {}
    others: list[Path] = []
    for part in ('train', 'train_extra', 'val', 'test'):
        images, labels = root / 'leftImg8bit' / part, root / kind / part
        if (part == 'train_extra' and not coarse) or (part == 'test' and not labels.is_dir()):
            others += files_in(images, PICTURE_SUFFIXES)
        elif images.is_dir():
            splits.setdefault('train' if part == 'train_extra' else part, []).extend(_pairs(images, labels, kind))
    if not splits:
        raise DatasetError(f'no train/, val/ or test/ in {root}/leftImg8bit: pass the folder of leftImg8bit/ and {kind}/')
    used = files_of(splits)
    return SourceDataset(
        'cityscapes', CITYSCAPES, splits, _read_ids,
        source=f'Cityscapes (Cordts et al. 2016), {kind}',
        license='Cityscapes is for non-commercial use; see its licence at cityscapes-dataset.com',
        left_out=[
            *unused_files(root / 'leftImg8bit', [*used, *others], 'images that are in no split'),
            *unused_files(root / kind, used, 'labels without an image', (f'_{kind}_labelids.png'.lower(),)),
        ],
        notes=by_folder(others, f'images that have no labels in {kind}/'),
    )


def _pairs(images: Path, labels: Path, kind: str) -> list[Pair]:
    cities = sorted(path for path in images.iterdir() if path.is_dir())
    if not cities:
        raise DatasetError(f'no folders of cities in {images}: unpack the images again')
    return [
        Pair.of(path, labels / city.name / f'{path.stem.removesuffix(_IMAGE_SUFFIX)}_{kind}_labelIds.png')
        for city in cities for path in some_images(city)
    ]


def _read_ids(pair: Pair, _: Size) -> NDArray[np.uint8]:
    return _CODING.read(pair.labels_path)

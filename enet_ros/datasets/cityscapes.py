"""Cityscapes (Cordts et al. 2016): leftImg8bit/ with gtFine/ or gtCoarse/, label ids reduced to the 19 train ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.coding import Coding
from enet_ros.datasets.prepared import SPLITS, some_images
from enet_ros.datasets.writing import Pair, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.labels import CITYSCAPES, CITYSCAPES_LABEL_IDS, VOID

_IMAGE_SUFFIX = '_leftImg8bit'
# The official scripts know label ids 0 to 33; those that are not scored, the labels of the test part among them, are void.
# (License plates have id -1, which is not drawn into label images.)
_CODING = Coding(ids={**dict.fromkeys(range(34), VOID), **{id: index for index, id in enumerate(CITYSCAPES_LABEL_IDS)}})


def find_cityscapes(root: Path, coarse: bool = False) -> SourceDataset:
    """Find the splits of Cityscapes in `root`; with `coarse`, those of gtCoarse/, whose train_extra joins train.

    The test part, whose labels are not public, is left out where there are no label files for it.

    Raises:
        DatasetError: no split is there, or one has no images.

    """
    kind = 'gtCoarse' if coarse else 'gtFine'
    splits: dict[str, list[Pair]] = {}
    for part in ('train', 'train_extra', 'val', 'test') if coarse else SPLITS:
        images, labels = root / 'leftImg8bit' / part, root / kind / part
        if images.is_dir() and (labels.is_dir() or part != 'test'):
            splits.setdefault('train' if part == 'train_extra' else part, []).extend(_pairs(images, labels, kind))
    if not splits:
        raise DatasetError(f'no train/, val/ or test/ in {root / "leftImg8bit"}: give the folder that holds it and {kind}/')
    return SourceDataset(
        'cityscapes', CITYSCAPES, splits, _read_ids,
        source=f'Cityscapes (Cordts et al. 2016), {kind}',
        license='Cityscapes is for non-commercial use; see its licence at cityscapes-dataset.com',
    )


def _pairs(images: Path, labels: Path, kind: str) -> list[Pair]:
    cities = sorted(path for path in images.iterdir() if path.is_dir())
    if not cities:
        raise DatasetError(f'no cities in {images}: unpack the images again')
    return [
        Pair.of(path, labels / city.name / f'{path.stem.removesuffix(_IMAGE_SUFFIX)}_{kind}_labelIds.png')
        for city in cities for path in some_images(city)
    ]


def _read_ids(pair: Pair) -> NDArray[np.uint8]:
    return _CODING.read(pair.labels_path)

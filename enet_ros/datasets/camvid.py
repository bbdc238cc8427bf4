"""CamVid (Brostow et al. 2008) in the 480x360 form of the SegNet tutorial: index PNGs of 11 classes, 11 = unlabelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.prepared import (
    SPLITS,
    Dataset,
    DatasetError,
    Pair,
    check_ids,
    image_files,
    read_labels,
    write_dataset,
)
from enet_ros.labels import CAMVID, VOID

UNLABELLED = len(CAMVID)


def convert_camvid(source: Path, destination: Path) -> Dataset:
    """Convert `source` (train/, trainannot/ and so on) to a prepared dataset in `destination`.

    Raises:
        EnetError: no split is there, an image lacks its labels, or a file is damaged or holds an unknown id.

    """
    splits = {split: _pairs(source, split) for split in SPLITS if (source / split).is_dir()}
    if not splits:
        raise DatasetError(
            f'no train/, val/ or test/ folder in {source}: give the folder of the 480x360 CamVid that also holds trainannot/'
        )
    return write_dataset(
        destination, 'camvid', CAMVID, splits, _read_ids,
        source='CamVid (Brostow et al. 2008), 480x360 form of the SegNet tutorial',
        license_note='CamVid is for research use, non-commercial',
    )


def _pairs(source: Path, split: str) -> list[Pair]:
    images = image_files(source / split)
    if not images:
        raise DatasetError(f'no images in {source / split}: fetch the dataset again')
    pairs = [Pair(path, source / f'{split}annot' / f'{path.stem}.png') for path in images]
    for pair in pairs:
        if not pair.labels_path.is_file():
            raise DatasetError(f'{pair.image_path} has no labels {pair.labels_path}: fetch the dataset again')
    return pairs


def _read_ids(path: Path) -> NDArray[np.uint8]:
    ids = read_labels(path)
    check_ids(path, ids, range(UNLABELLED + 1))
    ids[ids == UNLABELLED] = VOID
    return ids

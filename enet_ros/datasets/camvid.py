"""CamVid (Brostow et al. 2008): the 480x360 images of the SegNet tutorial, or the 701 original frames at 960x720."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.coding import Coding
from enet_ros.datasets.prepared import SPLITS, some_images
from enet_ros.datasets.searching import files_of, unused_files
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.labels import CAMVID, VOID, Color

# The 32 classes in the colours of CamVid's label_colors.txt, grouped into the 11 classes of SegNet (Badrinarayanan et al.
# 2015). The groups are those of MATLAB's SegNet example, which follows SegNet. Void stays void.
_GROUPS: dict[str, tuple[Color, ...]] = {
    'Sky': ((128, 128, 128),),
    # Bridge, Building, Wall, Tunnel, Archway
    'Building': ((0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)),
    # Column_Pole, TrafficCone
    'Pole': ((192, 192, 128), (0, 0, 64)),
    # Road, LaneMkgsDriv, LaneMkgsNonDriv
    'Road': ((128, 64, 128), (128, 0, 192), (192, 0, 64)),
    # Sidewalk, ParkingBlock, RoadShoulder
    'Pavement': ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    # Tree, VegetationMisc
    'Tree': ((128, 128, 0), (192, 192, 0)),
    # SignSymbol, Misc_Text, TrafficLight
    'SignSymbol': ((192, 128, 128), (128, 128, 64), (0, 64, 64)),
    'Fence': ((64, 64, 128),),
    # Car, SUVPickupTruck, Truck_Bus, Train, OtherMoving
    'Car': ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # Pedestrian, Child, CartLuggagePram, Animal
    'Pedestrian': ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    # Bicyclist, MotorcycleScooter
    'Bicyclist': ((0, 128, 192), (192, 0, 192)),
}
_COLORS = Coding(
    colors={(0, 0, 0): VOID, **{color: CAMVID.names.index(name) for name, group in _GROUPS.items() for color in group}}
)
_IDS = Coding(ids={**{index: index for index in range(len(CAMVID))}, len(CAMVID): VOID})
# The published file has 175 pixels in colours that are not classes. Users of CamVid treat them as void.
_FAULTY = 'Seq05VD_f02610_L.png'

# Folders of the 701 frames and of their labels: as published, and as on Kaggle.
_FRAME_FOLDERS = (
    ('701_StillsRaw_full', 'LabeledApproved_full'),
    ('train', 'train_labels'), ('val', 'val_labels'), ('test', 'test_labels'),
)


def find_camvid(root: Path) -> SourceDataset:
    """Find the layout of CamVid in `root`. The 701 frames get SegNet's split, whatever folder they are in.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: `root` has none of the layouts, or a folder has no images.

    """
    if any((root / split).is_dir() and (root / f'{split}annot').is_dir() for split in SPLITS):
        splits, to_ids, form = _find_tutorial(root), _read_ids, '480x360 form of the SegNet tutorial'
    elif any((root / labels).is_dir() for _, labels in _FRAME_FOLDERS):
        splits, to_ids, form = _find_frames(root), _read_colors, "701 frames at 960x720, SegNet's 11 classes and split"
    else:
        raise DatasetError(
            f'no CamVid in {root}: pass the folder that holds train/ and trainannot/ (480x360), or 701_StillsRaw_full/ and '
            'LabeledApproved_full/, or train/ and train_labels/ (960x720)'
        )
    return SourceDataset(
        'camvid', CAMVID, splits, to_ids,
        source=f'CamVid (Brostow et al. 2008), {form}',
        license='CamVid is for research use, non-commercial',
        left_out=unused_files(root, files_of(splits), 'images or labels in no split or without a counterpart'),
    )


def _find_tutorial(root: Path) -> dict[str, list[Pair]]:
    return {split: _pairs(root / split, root / f'{split}annot', '') for split in SPLITS if (root / split).is_dir()}


def _find_frames(root: Path) -> dict[str, list[Pair]]:
    pairs = [
        pair for images, labels in _FRAME_FOLDERS if (root / labels).is_dir()
        for pair in _pairs(root / images, root / labels, '_L')
    ]
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for pair in pairs:
        splits[_segnet_split(pair)].append(pair)
    return {split: chosen for split, chosen in splits.items() if chosen}


def _segnet_split(pair: Pair) -> str:
    """Return the split of the SegNet tutorial (367 train, 101 val, 233 test) by drive and frame number.

    Raises:
        DatasetError: the name is not that of a CamVid frame.

    """
    drive, _, frame = pair.name.partition('_')
    number = int(frame.removeprefix('f')) if frame.removeprefix('f').isdigit() else None
    if number is None or drive not in ('0001TP', '0006R0', '0016E5', 'Seq05VD'):
        raise DatasetError(f'{pair.image_path} is not named like a frame of CamVid, for example 0016E5_07959: remove it')
    if drive == 'Seq05VD' or (drive == '0001TP' and number > 8520):
        return 'test'
    return 'val' if drive == '0016E5' and 7959 <= number <= 8159 else 'train'


def _pairs(images: Path, labels: Path, suffix: str) -> list[Pair]:
    return [Pair.of(path, labels / f'{path.stem}{suffix}.png') for path in some_images(images)]


def _read_ids(pair: Pair, _: Size) -> NDArray[np.uint8]:
    return _IDS.read(pair.labels_path)


def _read_colors(pair: Pair, _: Size) -> NDArray[np.uint8]:
    return _COLORS.read(pair.labels_path, VOID if pair.labels_path.name == _FAULTY else None)

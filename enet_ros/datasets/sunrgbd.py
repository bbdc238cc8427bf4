"""SUN RGB-D (Song et al. 2015), 37 classes: labels as PNGs of sunrgbd-meta-data or as MATLAB files of the toolbox."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.coding import Coding
from enet_ros.datasets.optional import import_optional
from enet_ros.datasets.parsing import parsing
from enet_ros.datasets.prepared import some_images
from enet_ros.datasets.searching import PICTURE_SUFFIXES, by_folder, files_in, files_of, unused_files
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.datasets.splitting import Choice, hold_out
from enet_ros.errors import DatasetError, one_line
from enet_ros.labels import SUNRGBD, VOID

# 0 is void, 1 to 37 are the classes in the order of seg37list in the toolbox.
_CODING = Coding(ids={0: VOID, **{index + 1: index for index in range(len(SUNRGBD))}})

# The meta-data repository (github.com/ankurhanda/sunrgbd-meta-data) numbers the label images of both parts consecutively,
# the test part first. Its archives of images number each part from 1.
_LABELS = 'sunrgbd_train_test_labels'
_IMAGES = {'train': 'SUNRGBD-train_images', 'test': 'SUNRGBD-test_images'}
_TEST_IMAGES = 5050

_LABELS_MAT = Path('SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat')
_META_MAT = Path('SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat')
_PURPOSE = 'labels in SUNRGBDtoolbox/'
_SPLIT_MAT = Path('SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat')
_REMEDY = 'unpack SUNRGBDtoolbox.zip again'


def find_sunrgbd(root: Path, choice: Choice | None = None) -> SourceDataset:
    """Find the layout of SUN RGB-D in `root`. `choice` selects the images to hold out of the published training part.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: `root` has neither layout, a file of the toolbox cannot be read, or a package for it is missing.

    """
    indices: dict[str, int] = {}
    left_out: list[DatasetError] = []
    notes: list[str] = []
    if (root / _LABELS).is_dir():
        splits, form = _find_png(root), 'PNG labels of sunrgbd-meta-data'
        left_out = [error for folder in (*_IMAGES.values(), _LABELS)
                    for error in unused_files(root / folder, files_of(splits), 'images or labels without a counterpart')]
    elif (root / _LABELS_MAT).is_file():
        splits, indices = _find_toolbox(root)
        form = 'labels of SUNRGBDtoolbox'
        known = set(files_of(splits))
        others = (path for path in files_in(root / 'SUNRGBD', PICTURE_SUFFIXES) if path.parent.name == 'image')
        notes = by_folder((path for path in others if path not in known), f'images that are not in {_META_MAT}')
    else:
        raise DatasetError(
            f'no SUN RGB-D in {root}: pass the folder that holds {_LABELS}/, {_IMAGES["train"]}/ and {_IMAGES["test"]}/, or '
            'SUNRGBD/ and SUNRGBDtoolbox/'
        )

    def to_ids(pair: Pair, size: Size) -> NDArray[np.uint8]:
        return _read_toolbox(pair.labels_path, indices[pair.name], size) if indices else _CODING.read(pair.labels_path)

    return SourceDataset(
        'sunrgbd', SUNRGBD, hold_out(splits, choice), to_ids,
        source=f'SUN RGB-D (Song et al. 2015), {form}',
        license='terms of SUN RGB-D and of the datasets that it contains: see rgbd.cs.princeton.edu',
        left_out=left_out, notes=notes,
    )


def _find_png(root: Path) -> dict[str, list[Pair]]:
    splits = {}
    for split, folder in _IMAGES.items():
        if not (root / folder).is_dir():
            continue
        images = some_images(root / folder)
        numbers = [_number(path) for path in images]
        # some archives number the training images as the labels
        first = _TEST_IMAGES if split == 'train' and min(numbers) <= _TEST_IMAGES else 0
        splits[split] = [
            Pair.of(path, root / _LABELS / f'img-{first + number:06d}.png') for path, number in zip(images, numbers)
        ]
    return splits


def _number(path: Path) -> int:
    number = path.stem.removeprefix('img-')
    if not number.isdigit():
        raise DatasetError(f'{path} is not named like an image of SUN RGB-D, for example img-000001.jpg: remove it')
    return int(number)


def _find_toolbox(root: Path) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """Return the pairs of each split, and the index of the labels of each name."""
    import_optional('h5py', _PURPOSE)  # before the slow part
    with parsing(root / _SPLIT_MAT, _REMEDY):
        train = {_scene(folder) for folder in _read_mat(root / _SPLIT_MAT, 'alltrain')}
    splits: dict[str, list[Pair]] = {'train': [], 'test': []}
    indices = {}
    for index, meta in enumerate(_read_mat(root / _META_MAT, 'SUNRGBDMeta')):
        with parsing(root / _META_MAT, _REMEDY):
            path = PurePosixPath(meta.rgbpath)
        scene = _scene(str(path.parent.parent))
        # each folder holds one image, and the names of the images repeat
        pair = Pair(root.joinpath('SUNRGBD', *scene, 'image', path.name), root / _LABELS_MAT, '_'.join(scene))
        splits['train' if scene in train else 'test'].append(pair)
        indices[pair.name] = index
    return splits, indices


def _scene(folder: str) -> tuple[str, ...]:
    """Return the path below SUNRGBD/, for example kv1, NYUdata, NYU0001, of a folder named in the toolbox."""
    parts = PurePosixPath(folder).parts
    return parts[parts.index('SUNRGBD') + 1 :] if 'SUNRGBD' in parts else parts


def _read_mat(path: Path, variable: str) -> list[Any]:
    import_optional('scipy.io', _PURPOSE)
    try:
        # SciPy ends the process at some damaged files, by a segmentation fault
        with ProcessPoolExecutor(1, get_context('spawn')) as process:
            return process.submit(_load_mat, path, variable).result()
    except Exception as error:  # and it raises exceptions of many types
        raise DatasetError(f'cannot read {variable} from {path}: {one_line(error)}; {_REMEDY}') from error


def _load_mat(path: Path, variable: str) -> list[Any]:
    scipy_io = import_optional('scipy.io', _PURPOSE)
    values = scipy_io.loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=[variable])[variable]
    return np.atleast_1d(values).tolist()


def _read_toolbox(path: Path, index: int, size: Size) -> NDArray[np.uint8]:
    h5py = import_optional('h5py', _PURPOSE)
    try:
        with h5py.File(path) as file:
            stored = file[file['SUNRGBD2Dseg']['seglabel'][index, 0]]  # MATLAB stores columns first
            if stored.shape[::-1] != size:  # before memory is allocated
                raise ValueError(f'they have shape {stored.shape[::-1]}, but the image has {size}')
            labels = stored[()].T
    except Exception as error:  # likewise h5py
        raise DatasetError(f'cannot read labels {index} from {path}: {one_line(error)}; {_REMEDY}') from error
    if labels.min() < 0 or labels.max() > len(SUNRGBD):
        raise DatasetError(f'labels {index} of {path} are {labels.min()} to {labels.max()} but must be 0 to {len(SUNRGBD)}: '
                           + _REMEDY)
    ids = labels.astype(np.uint8)
    return np.where(ids == 0, VOID, ids - 1).astype(np.uint8)

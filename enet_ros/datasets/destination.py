"""The folder of a prepared dataset: where the files of a pair go, and whether a conversion may write there."""

from __future__ import annotations

import os
from pathlib import Path

from enet_ros.datasets.journal import JOURNAL
from enet_ros.datasets.prepared import SPLITS, read_dataset
from enet_ros.datasets.searching import is_converted
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import image_files


def targets(root: Path, split: str, pair: Pair) -> tuple[Path, Path]:
    """Return the paths of the image and of the labels of a pair in the prepared layout."""
    return root / split / 'images' / f'{pair.name}{pair.image_path.suffix}', root / split / 'labels' / f'{pair.name}.png'


def check_names(source: SourceDataset) -> None:
    """Check that every split has images, and that all of a split get different names.

    Raises:
        DatasetError: it is not so.

    """
    if not source.splits:
        raise DatasetError(f'{source.name} has no images: pass the folder of the complete dataset')
    for split, pairs in source.splits.items():
        if not pairs:
            raise DatasetError(f'split {split} of {source.name} has no images: pass the folder of the complete dataset')
        taken: dict[str, Path] = {}
        for pair in pairs:
            if pair.name in taken:
                raise DatasetError(
                    f'{pair.image_path} and {taken[pair.name]} would both become {split}/images/{pair.name}: rename one'
                )
            taken[pair.name] = pair.image_path


def check_free(root: Path, source: SourceDataset) -> None:
    """Check that `root` holds neither another dataset, nor files that no conversion wrote, nor the files to convert.

    Raises:
        DatasetError: it does.

    """
    try:
        held = read_dataset(root)
    except DatasetError:
        held = None
    if held is not None and (held.name, held.labels) != (source.name, source.labels):
        raise DatasetError(f'{root} holds the dataset {held.name} with other classes: choose another folder or empty it')
    is_own = is_converted(root)
    if not is_own:
        _check_absent(root / 'dataset.yaml', root / JOURNAL)
    for split in SPLITS:
        folders = root / split, root / split / 'images', root / split / 'labels'
        _check_absent(*(folder for folder in folders if not folder.is_dir()))
        files = {path for pair in source.splits.get(split, ()) for path in targets(root, split, pair)}
        there = {path for folder in folders[1:] if folder.is_dir() for path in image_files(folder)}
        if foreign := sorted(there - files):
            raise DatasetError(f'{root} holds files that this conversion does not write, for example {foreign[0]}: choose '
                               'another folder or empty it')
        if not is_own or (held is not None and split not in held.pixels):
            _check_absent(*sorted(files))
    written = {(root / split / kind).resolve() for split in SPLITS for kind in ('images', 'labels')}
    for folder in {path.parent for pairs in source.splits.values() for pair in pairs for path in pair.files}:
        if folder.resolve() in written:
            raise DatasetError(f'{root} holds {folder}, which is to be converted: choose another folder')


def _check_absent(*paths: Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise DatasetError(f'{path} exists, and "enet convert" did not write it: choose another folder or move it away')

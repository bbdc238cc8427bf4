"""Which split an image belongs to: by the name of its folder, or, where there are none, by choice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from enet_ros.datasets.prepared import SPLITS
from enet_ros.datasets.writing import Pair
from enet_ros.errors import DatasetError

DEFAULT_SHARE = 0.2
"""What is held out of own data that have no splits."""

Choice: TypeAlias = Callable[[Sequence[Pair]], set[str]]
"""Returns the names of those pairs that are held out."""


_SPLIT_FOLDERS = {
    'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val',
    'test': 'test', 'testing': 'test',
}


def split_folders(root: Path, what: str, holds: Callable[[Path], bool], flat: bool) -> dict[str, list[Path]]:
    """Return the folders of `root` that hold a split, by split; none where `root` is not divided.

    `holds` tells whether a folder holds `what` is to be converted, `flat` whether `root` itself does.

    Raises:
        DatasetError: some folders are splits, and what else is there would be left out.

    """
    folders = sorted(path for path in root.glob('[!.]*') if path.is_dir() and path.name != '__MACOSX')
    splits: dict[str, list[Path]] = {}
    for folder in folders:
        if folder.name.lower() in _SPLIT_FOLDERS and holds(folder):
            splits.setdefault(_SPLIT_FOLDERS[folder.name.lower()], []).append(folder)
    if splits:
        for folder in folders:
            if folder.name.lower() in _SPLIT_FOLDERS and not holds(folder):
                raise DatasetError(f'no {what} in {folder}: add them or take the folder out')
            if folder.name.lower() not in _SPLIT_FOLDERS and holds(folder):
                raise DatasetError(f'{folder} holds {what}, but its name is none of {", ".join(_SPLIT_FOLDERS)}: rename it '
                                   'or take it out')
        if flat:
            raise DatasetError(f'{root} and its folder {next(iter(splits.values()))[0].name} both hold {what}: take one out')
    return splits


def hold_out(splits: Mapping[str, Sequence[Pair]], choice: Choice | None) -> dict[str, Sequence[Pair]]:
    """Move what `choice` takes from train to val; None moves nothing.

    Raises:
        DatasetError: there is something to move but a val split already or no train split, or nothing is left to train on.

    """
    splits = {split: splits[split] for split in SPLITS if split in splits}
    if choice is None:
        return splits
    if 'val' in splits or 'train' not in splits:
        raise DatasetError(f'the images are in {", ".join(splits)} already: choose no images for validation')
    chosen = choice(splits['train'])
    train = [pair for pair in splits['train'] if pair.name not in chosen]
    if not train:
        raise DatasetError(f'all {len(chosen)} images are held out for validation: hold out fewer, or add images')
    return {**splits, 'train': train, 'val': [pair for pair in splits['train'] if pair.name in chosen]}


def by_share(share: float) -> Choice:
    """Hold out `share` (0 to 1) of the images, and at least one.

    Which ones depends on their names alone: it is the same every time, and changes little when images are added.
    """

    def choose(pairs: Sequence[Pair]) -> set[str]:
        names = sorted((pair.name for pair in pairs), key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
        return set(names[: max(1, round(share * len(names)))])

    return choose


def by_prefix(prefixes: Sequence[str]) -> Choice:
    """Hold out the images whose names start with one of `prefixes`, such as those of a whole drive."""

    def choose(pairs: Sequence[Pair]) -> set[str]:
        for prefix in prefixes:
            if not any(pair.name.startswith(prefix) for pair in pairs):
                raise DatasetError(f'no image name starts with "{prefix}": {pairs[0].name}, say, is one')
        return {pair.name for pair in pairs if pair.name.startswith(tuple(prefixes))}

    return choose

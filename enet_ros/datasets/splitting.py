"""Decide which split an image belongs to: by its folder, or by holding some of the training images out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from enet_ros.datasets.prepared import SPLITS
from enet_ros.datasets.source import Pair
from enet_ros.errors import DatasetError

DEFAULT_SHARE = 0.2
"""Share of the images that is held out of own data without splits."""

UNSPLIT = ''
"""Stands for the split of images that belong to none."""

_SPLIT_FOLDERS = {
    'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val',
    'test': 'test', 'testing': 'test',
}

T = TypeVar('T')
Choice: TypeAlias = Callable[[Sequence[Pair]], tuple[list[Pair], list[Pair]]]
"""Divides the training images into those that remain and those to hold out for validation."""


def find_pairs(
    root: Path, what: str, holds: Callable[[Path], bool], pairs_in: Callable[[Path], list[Pair]], is_flat: bool
) -> dict[str, list[Pair]]:
    """Return the pairs in the split folders of `root`, or those in `root` itself as `UNSPLIT` if it has no such folders.

    Args:
        root: Folder of the dataset.
        what: Names what is searched for in errors.
        holds: Says whether a folder holds that.
        pairs_in: Returns the pairs in a folder.
        is_flat: Whether `root` itself holds pairs.

    Raises:
        DatasetError: `root` has split folders, but also images outside of them, or one of them is empty.

    """
    folders = sorted(path for path in root.glob('[!.]*') if path.is_dir() and path.name != '__MACOSX')
    of_splits = [folder for folder in folders if folder.name.lower() in _SPLIT_FOLDERS]
    if not any(holds(folder) for folder in of_splits):
        return {UNSPLIT: pairs_in(root)}
    splits: dict[str, list[Pair]] = {}
    for folder in folders:
        if folder in of_splits:
            if not holds(folder):
                raise DatasetError(f'no {what} in {folder}: add them or remove the folder')
            splits.setdefault(_SPLIT_FOLDERS[folder.name.lower()], []).extend(pairs_in(folder))
        elif holds(folder):
            raise DatasetError(f'{folder} holds {what} but is not named after a split ({", ".join(_SPLIT_FOLDERS)}): rename '
                               'or move it')
    if is_flat:
        raise DatasetError(f'both {root} and its folder {of_splits[0].name} hold {what}: remove one of them')
    return splits


def split_named(name: str) -> str:
    """Return the split that a folder or list of this name holds, for example val for Validation, or `UNSPLIT`."""
    return _SPLIT_FOLDERS.get(name.lower(), UNSPLIT)


def split_folders(parent: Path, splits: Sequence[str]) -> list[Path]:
    """Return the folders in `parent` that are named after one of `splits`, for example Validation for val."""
    return sorted(path for path in parent.glob('*/') if split_named(path.name) in splits)


def split_of_folder(root: Path, path: Path) -> str:
    """Return the split that a folder of `path`, below `root`, is named after. `UNSPLIT` if there is none."""
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return next(filter(None, map(split_named, folders)), UNSPLIT)


def hold_out(splits: Mapping[str, Sequence[Pair]], choice: Choice | None) -> dict[str, Sequence[Pair]]:
    """Move the pairs that `choice` selects from train to val. None moves nothing, except a default share of `UNSPLIT` ones.

    Raises:
        DatasetError: `choice` is given but there is a val split or no train split, or no training images remain.

    """
    if UNSPLIT in splits:
        splits, choice = {'train': splits[UNSPLIT]}, choice or by_share(DEFAULT_SHARE)
    splits = {split: splits[split] for split in SPLITS if split in splits}
    if choice is None or not splits:
        return splits
    if 'val' in splits or 'train' not in splits:
        raise DatasetError(f'the images are already split into {", ".join(splits)}: images can only be held out where there '
                           'is train and no val')
    rest, held = choice(splits['train'])
    return {**splits, 'train': rest, 'val': held}


def by_share(share: float) -> Choice:
    """Hold out `share`, in (0, 1), of the images, at least one.

    The choice depends only on the names, so it is the same every time and changes little when images are added.
    """

    def choose(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        names = sorted((pair.name for pair in pairs), key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
        chosen = set(names[: max(1, round(share * len(names)))])
        return _divide(pairs, lambda pair: pair.name in chosen)

    return choose


def by_prefix(prefixes: Sequence[str]) -> Choice:
    """Hold out the images with a name that starts with one of `prefixes`, such as all images of one drive."""
    return lambda pairs: split_by_prefix(pairs, prefixes, lambda pair: pair.name)


def split_by_prefix(names: Sequence[T], prefixes: Sequence[str], name: Callable[[T], str]) -> tuple[list[T], list[T]]:
    """Divide items into the rest and those to hold out: those with a `name` that starts with one of `prefixes`.

    Raises:
        DatasetError: no name starts with one of the prefixes, or all items are held out.

    """
    for prefix in prefixes:
        if not any(is_held_out(name(item), [prefix]) for item in names):
            example = f', for example {name(names[0])}' if names else ''
            raise DatasetError(f'no image name starts with "{prefix}": use the start of a name{example}')
    return _divide(names, lambda item: is_held_out(name(item), prefixes))


def is_held_out(name: str, prefixes: Sequence[str]) -> bool:
    """Return whether `name` starts with one of `prefixes`."""
    return name.startswith(tuple(prefixes))


def _divide(items: Sequence[T], is_held: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    """Return the items to keep and those to hold out.

    Raises:
        DatasetError: all are held out.

    """
    rest = [item for item in items if not is_held(item)]
    if not rest:
        raise DatasetError(f'all {len(items)} images would be held out for validation: hold out fewer or add images')
    return rest, [item for item in items if is_held(item)]

"""Search the folders of a source dataset, so that no file in it is left out without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from enet_ros.datasets.journal import JOURNAL, is_journal
from enet_ros.datasets.prepared import SPLITS, read_dataset
from enet_ros.datasets.source import Pair
from enet_ros.errors import DatasetError
from enet_ros.images.files import IMAGE_SUFFIXES

PICTURE_SUFFIXES = (
    *IMAGE_SUFFIXES, '.avif', '.bmp', '.gif', '.heic', '.jfif', '.jp2', '.pgm', '.ppm', '.tif', '.tiff', '.webp',
)
"""Suffixes of image files, also of those in formats that are not supported: they must not be overlooked."""


def files_in(root: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files with one of `suffixes` (lower case) in `root` and all its folders, sorted by folder and name.

    Hidden files and folders, those of macOS's archives, and the images and labels that a conversion wrote to a folder of
    `root` are not searched.
    """
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        path = Path(folder)
        if (real := path.resolve()) in seen:  # links make a loop
            folders.clear()
            continue
        seen.add(real)
        if path.name in SPLITS and path.parent != root and is_converted(path.parent):
            folders[:] = [name for name in folders if name not in ('images', 'labels')]
        folders[:] = sorted(name for name in folders if name[0] != '.' and name != '__MACOSX')
        visible = (name for name in sorted(names) if name[0] != '.')
        yield from (path / name for name in visible if name.lower().endswith(tuple(suffixes)))


def files_of(splits: Mapping[str, Iterable[Pair]]) -> list[Path]:
    """Return the images and label files of all pairs."""
    return [path for pairs in splits.values() for pair in pairs for path in pair.files]


def unused_files(
    folder: Path, used: Iterable[Path], what: str, suffixes: Sequence[str] = PICTURE_SUFFIXES
) -> list[DatasetError]:
    """Return an error for each folder in `folder` that holds files which are not `used`. `what` says in it what they are."""
    real_path = RealPath()
    known = {real_path(path) for path in used}
    unused = (path for path in files_in(folder, suffixes) if real_path(path) not in known)
    return [DatasetError(f'{line}: add what is missing, move them, or leave them out with --skip-bad')
            for line in by_folder(unused, what)]


def by_folder(paths: Iterable[Path], what: str) -> list[str]:
    """Return for each folder of `paths` how many of them it holds, with an example. `what` says what they are."""
    held: dict[Path, list[Path]] = {}
    for path in paths:
        held.setdefault(path.parent, []).append(path)
    return [f'{folder} holds {len(files)} {what}, for example {files[0].name}' for folder, files in held.items()]


class RealPath:
    """Resolves the links in the paths of files: `os.path.realpath`, but each folder only once, which is far faster."""

    def __init__(self) -> None:
        """Know no folder."""
        self._folders: dict[str, str] = {}

    def __call__(self, path: Path) -> str:
        """Return the path of the file itself, without links."""
        folder, name = os.path.split(path)
        real = os.path.join(self._folder(folder), name)
        return os.path.realpath(real) if os.path.islink(real) else real

    def is_inside(self, path: Path, folder: Path) -> bool:
        """Return whether a file is in `folder` or in one of its folders."""
        return self(path).startswith(os.path.join(self._folder(str(folder)), ''))

    def _folder(self, folder: str) -> str:
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return self._folders[folder]


def is_converted(root: Path) -> bool:
    """Return whether a conversion, perhaps an unfinished one, wrote to `root`."""
    try:
        return is_journal(root / JOURNAL) or bool(read_dataset(root))
    except DatasetError:
        return False

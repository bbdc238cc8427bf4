"""What of an unfinished conversion is done already: one line of JSON for each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

from enet_ros.errors import EnetError
from enet_ros.files import replacing


@dataclass(frozen=True)
class Figures:
    """What dataset.yaml needs to know of one image."""

    counts: list[int]
    """Pixels of each class; void is not counted."""
    mean: list[float]
    """Of red, green and blue, 0 to 1."""
    squares: list[float]
    """Mean of the squares of red, green and blue."""


class Journal:
    """Remembers the figures of finished images until `remove`, also when the process is killed."""

    def __init__(self, path: Path, identity: Sequence[object]) -> None:
        """Open the journal at `path`; one of a conversion with another `identity` (JSON values) is forgotten.

        Raises:
            EnetError: the file cannot be written.

        """
        self._path = path
        self._lock = Lock()
        self._done: dict[tuple[str, str], tuple[list[int], Figures]] = {}
        first = json.dumps(identity)
        lines = _lines(path)
        for line in lines[1:] if lines[:1] == [first] else []:
            try:
                split, name, stamp, figures = json.loads(line)
                self._done[split, name] = (stamp, Figures(**figures))
            except (ValueError, TypeError):  # the process was killed in the middle of the last line
                break
        with replacing(path) as temporary:
            entries = (_entry(split, name, *entry) for (split, name), entry in self._done.items())
            temporary.write_text('\n'.join((first, *entries, '')), encoding='utf-8')
        try:
            self._file = path.open('a', buffering=1, encoding='utf-8')  # each line reaches the file at once
        except OSError as error:
            raise EnetError(f'cannot write {path}: {error.strerror}') from error

    def __enter__(self) -> Journal:
        """Return the journal itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    def find(self, split: str, name: str, stamp: list[int]) -> Figures | None:
        """Return the figures of an image; None where it is not done, or was while its files had another `stamp`."""
        then, figures = self._done.get((split, name), (None, None))
        return figures if then == stamp else None

    def add(self, split: str, name: str, stamp: list[int], figures: Figures) -> None:
        """Remember a finished image; for any thread.

        Raises:
            EnetError: the file cannot be written.

        """
        try:
            with self._lock:
                self._file.write(_entry(split, name, stamp, figures) + '\n')
        except OSError as error:
            raise EnetError(f'cannot write {self._path}: {error.strerror}') from error

    def remove(self) -> None:
        """Delete the journal: the conversion is finished."""
        self._path.unlink()


def _entry(split: str, name: str, stamp: list[int], figures: Figures) -> str:
    entry: list[Any] = [split, name, stamp, asdict(figures)]
    return json.dumps(entry)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError):
        return []

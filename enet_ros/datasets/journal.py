"""What an unfinished conversion has done: a file with one line of JSON for each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType

from enet_ros.errors import EnetError, one_line
from enet_ros.files import read_bytes, replacing
from enet_ros.parsing import MAX_JSON_BYTES, parse_json

JOURNAL = '.unfinished.jsonl'
"""Name of the file in the folder of an unfinished conversion."""

_FORMAT = 2  # change it when the lines change: a journal of another format is ignored
_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')


class Journal:
    """Keeps the pixel counts of converted images on disk, also when the process is killed."""

    def __init__(self, path: Path, identity: Sequence[object]) -> None:
        """Open the journal at `path`. The entries of a conversion with another `identity` (JSON values) are dropped.

        So are those from before the computer started: after a loss of power, the images may not be on the disk.

        Raises:
            EnetError: the file cannot be written.

        """
        self._path = path
        self._lock = Lock()
        self._done: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        kept = [json.dumps([_FORMAT, _boot_id(), *identity])]
        lines = _lines(path)
        for line in lines[1:] if lines[:1] == kept else []:
            try:
                split, name, stamp, counts = parse_json(line)
                self._done[str(split), str(name)] = stamp, [int(count) for count in counts]
            except (TypeError, ValueError, OverflowError):  # the process was killed while it wrote the last line
                break
            kept.append(line)
        with replacing(path, durable=True) as temporary:
            temporary.write_text('\n'.join([*kept, '']), encoding='utf-8')
        try:
            self._file = path.open('a', buffering=1, encoding='utf-8')  # each line reaches the file at once
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Journal:
        """Return the journal itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    def find(self, split: str, name: str, stamp: list[int]) -> list[int] | None:
        """Return the pixels of each class in an image. None if it was not converted, or its files had another `stamp`."""
        then, counts = self._done.get((split, name), (None, None))
        return counts if then == stamp else None

    def add(self, split: str, name: str, stamp: list[int], counts: list[int]) -> None:
        """Record a converted image. Can be called from any thread.

        Raises:
            EnetError: the file cannot be written.

        """
        try:
            with self._lock:
                self._file.write(json.dumps([split, name, stamp, counts]) + '\n')
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self) -> None:
        """Delete the journal of a finished conversion."""
        self._path.unlink()

    def _unwritable(self, error: OSError) -> EnetError:
        return EnetError(f'cannot write {self._path}: {one_line(error)}')


def _boot_id() -> str:
    """Return what identifies the time since the computer started, on Linux."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ''


def is_journal(path: Path) -> bool:
    """Return whether `path` is a journal of this package, also one of an earlier format."""
    try:
        *_, names, colors, settings, link = parse_json(_lines(path)[0])
    except (IndexError, TypeError, ValueError):
        return False
    return isinstance(names, list) and isinstance(colors, list) and isinstance(settings, str) and isinstance(link, bool)


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path, MAX_JSON_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []

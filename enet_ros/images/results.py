"""A folder of segmentation results: labels, overlays, and an index of what each was made from."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageFileError, one_line
from enet_ros.files import remove_temporaries, write_bytes
from enet_ros.images.files import encode_image
from enet_ros.images.frames import Frame, FrameSource
from enet_ros.parsing import parse_json

INDEX = 'index.csv'
INDEX_COLUMNS = ('labels', 'source', 'topic', 'sec', 'nanosec')
_FOLDERS = ('labels', 'overlays')


@dataclass(frozen=True)
class _Origin:
    """What a result was made from. Two are equal if file and topic are."""

    source: str
    """Absolute path of the image file, video or bag."""
    topic: str = ''
    stamp: tuple[int, int] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f'topic {self.topic} of {self.source}' if self.topic else self.source


@dataclass(frozen=True)
class _Entry:
    """A file that was written into the folder: one line of the record."""

    file: str
    """Path relative to the folder."""
    sha256: str
    name: str = ''
    """Name of the frame; empty for the index."""
    origin: _Origin = _Origin('')


class ResultFolder:
    """Writes `labels/NAME.png`, `overlays/NAME.jpg` and `index.csv`, and replaces only what it wrote itself.

    A hidden record keeps the checksum and the origin of every file. Any file that the record does not list, or that was
    changed since, belongs to the user and is never replaced.
    """

    def __init__(self, path: Path, writer: str) -> None:
        """Open the folder `path`, which need not exist, for the command `writer`. Each command has its own record."""
        self._path = path
        self._writer = writer
        self._record = path / ('.' + re.sub(r'\W', '_', writer) + '.jsonl')
        self._entries = {entry.file: entry for entry in _read_record(self._record)}
        self._origins: dict[str, _Origin] = {}  # by frame name

    def prepare(self, sources: Sequence[FrameSource], *, clear: bool = False) -> None:
        """Remove earlier results of `sources`, or all earlier results if `clear`.

        Raises:
            EnetError: a file that belongs to the user is in the way, a source is among the results, or frames of two sources
                would have the same name. Nothing is changed then.

        """
        self._check_files()
        for source in sources:
            for folder in _FOLDERS:
                if (self._path / folder).resolve() in (source.path.resolve(), *source.path.resolve().parents):
                    raise EnetError(f'{source.path} is where results are written: choose another --out')
        origins = _origins_of_files(sources)
        patterns = [(source.pattern, _origin(source.path, source.topic)) for source in sources if source.pattern]
        kept, removed = [], []
        for entry in self._entries.values():
            new = [origins[entry.name]] if entry.name in origins else []
            new += [origin for pattern, origin in patterns if pattern.fullmatch(entry.name)]
            if clear or entry.file == INDEX or entry.origin in new:
                removed.append(entry)
            elif new:
                raise _same_name(new[0], entry.origin)
            else:
                kept.append(entry)
        for folder in ('.', *_FOLDERS):
            remove_temporaries(self._path / folder)
        for entry in removed:
            (self._path / entry.file).unlink(missing_ok=True)
        self._entries = {entry.file: entry for entry in kept}
        self._origins = {entry.name: entry.origin for entry in kept}
        write_bytes(self._record, b''.join(map(_to_line, kept)))

    def add(self, frame: Frame) -> None:
        """Announce a frame. Call it before the results of the frame are written.

        Raises:
            EnetError: another frame has the same name.
            ImageFileError: the names of its results would be longer than the file system allows.

        """
        length, most = len(os.fsencode(f'{frame.name}.png')), os.pathconf(self._path, 'PC_NAME_MAX')
        if length > most:
            raise ImageFileError(f'{frame.path}: labels would have a name of {length} bytes, more than {most}: rename it')
        origin = _origin(frame.path, frame.topic, frame.stamp)
        if frame.name in self._origins:
            raise _same_name(origin, self._origins[frame.name])
        self._origins[frame.name] = origin

    def write_labels(self, name: str, labels: NDArray[np.uint8]) -> None:
        """Write the labels (H x W class ids, uint8) of the frame `name`.

        Raises:
            EnetError: the file cannot be written.

        """
        self._write(f'labels/{name}.png', encode_image('.png', labels), name)

    def write_overlay(self, name: str, overlay: NDArray[np.uint8]) -> None:
        """Write the overlay (H x W x 3, uint8, BGR) of the frame `name`.

        Raises:
            EnetError: the file cannot be written.

        """
        self._write(f'overlays/{name}.jpg', encode_image('.jpg', overlay), name)

    def write_index(self) -> None:
        """Write the index of all labels in the folder, also of those from earlier runs.

        Raises:
            EnetError: the file cannot be written.

        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(INDEX_COLUMNS)
        for entry in sorted(self._entries.values(), key=lambda entry: entry.file):
            if entry.file.startswith('labels/'):
                writer.writerow((entry.file, entry.origin.source, entry.origin.topic, *(entry.origin.stamp or ('', ''))))
        self._write(INDEX, text.getvalue().encode('utf-8', 'surrogateescape'))  # file names can be any bytes

    def _write(self, file: str, data: bytes, name: str = '') -> None:
        entry = _Entry(file, hashlib.sha256(data).hexdigest(), name, self._origins[name] if name else _Origin(''))
        # recorded first: a run that is killed in between leaves no file that the next run does not know
        try:
            with self._record.open('ab') as record:
                record.write(_to_line(entry))
        except OSError as error:
            raise EnetError(f'cannot write {self._record}: {one_line(error)}') from error
        write_bytes(self._path / file, data)
        self._entries[file] = entry

    def _check_files(self) -> None:
        folders = [self._path / folder for folder in _FOLDERS if (self._path / folder).is_dir()]
        files = [file for folder in folders for file in sorted(folder.iterdir()) if not file.name.startswith('.')]
        for path in (*files, self._path / INDEX):
            entry = self._entries.get(path.relative_to(self._path).as_posix())
            if path.exists() and not (entry and path.is_file() and entry.sha256 == _sha256(path)):
                raise EnetError(f'{path} was not written by "{self._writer}", or changed since: choose another --out')


def _read_record(path: Path) -> list[_Entry]:
    try:
        lines = path.read_bytes().splitlines() if path.is_file() else []
    except OSError as error:
        raise EnetError(f'cannot read {path}: {one_line(error)}; choose another --out') from error
    entries = []
    for line in lines:
        try:
            fields = parse_json(line)
            stamp = fields['origin'].pop('stamp')
            origin = _Origin(**fields.pop('origin'), stamp=tuple(stamp) if stamp else None)
            entries.append(_Entry(**fields, origin=origin))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # empty, or cut off by a full disk or a signal: its file was not written then
    return entries


def _to_line(entry: _Entry) -> bytes:
    return b'\n' + json.dumps(asdict(entry)).encode()  # begins a line: the one before may be cut off


def _origin(path: Path, topic: str, stamp: tuple[int, int] | None = None) -> _Origin:
    return _Origin(str(path.resolve()), topic, stamp)


def _origins_of_files(sources: Sequence[FrameSource]) -> dict[str, _Origin]:
    """Return the image files of all sources by frame name, after a check that no two frames have the same name."""
    origins: dict[str, _Origin] = {}
    for source in sources:
        for path in source.files():
            origin = _origin(path, '')
            if path.stem in origins:
                raise _same_name(origin, origins[path.stem])
            origins[path.stem] = origin
    patterns: dict[str, _Origin] = {}
    for source in sources:
        if source.pattern:
            origin = _origin(source.path, source.topic)
            clash = next((name for name in origins if source.pattern.fullmatch(name)), None)
            if clash or source.pattern.pattern in patterns:
                raise _same_name(origin, origins[clash] if clash else patterns[source.pattern.pattern])
            patterns[source.pattern.pattern] = origin
    return origins


def _same_name(first: _Origin, second: _Origin) -> EnetError:
    return EnetError(f'{first} and {second} can have frames of the same name: choose another --out for one of them')


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

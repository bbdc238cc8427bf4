"""Write files completely or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enet_ros.errors import EnetError, one_line

_UMASK = os.umask(0)  # can only be read by setting it: done once, before there are threads
os.umask(_UMASK)
_FILE_MODE = 0o666 & ~_UMASK


def check_writable(path: Path) -> None:
    """Check that `replacing` can write `path`. Call it before long work whose result goes there.

    Raises:
        EnetError: the folder cannot be created or written, or `path` is a folder.

    """
    _temporary(path).unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds and is removed when it fails.

    The temporary file keeps the suffix, because image writers choose their format by it. Missing folders are created.

    Raises:
        EnetError: the folder cannot be created or written, or `path` is a folder.

    """
    temporary = _temporary(path)
    try:
        yield temporary
        if not temporary.is_symlink():  # chmod would change the link's target
            temporary.chmod(_FILE_MODE)  # mkstemp creates private files
        temporary.replace(path)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {one_line(error)}') from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    if path.is_dir():
        raise EnetError(f'cannot write {path}: it is a folder; use a file name')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f'.{path.stem}-', suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {one_line(error)}; choose a folder you can write to') from error
    os.close(handle)
    return Path(name)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        EnetError: the file cannot be written.

    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON.

    Raises:
        EnetError: the file cannot be written.

    """
    write_bytes(path, (json.dumps(value, indent=2) + '\n').encode())

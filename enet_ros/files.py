"""Read files that have a reasonable size, and write files completely or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enet_ros.errors import EnetError, one_line

_UMASK = os.umask(0)  # can only be read by setting it: done once, before there are threads
os.umask(_UMASK)
_FILE_MODE = 0o666 & ~_UMASK


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    Raises:
        OSError: the file cannot be read or is larger, or `path` is not a regular file: a named pipe or a device could block
            or never end.

    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL character, which Linux does not allow in a path
        raise FileNotFoundError(errno.ENOENT, one_line(error)) from error
    with os.fdopen(handle, 'rb') as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, 'it is a folder')
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, 'it is not a regular file')
        if status.st_size > most:
            raise OSError(errno.EFBIG, f'it has {status.st_size} bytes, more than {most}')
        return file.read(status.st_size)


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

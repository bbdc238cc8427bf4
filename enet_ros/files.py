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
_PREFIX = '.enet_ros-'
"""How the names of temporary files start."""


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    Raises:
        OSError: the file cannot be read or is larger, or `path` is not a regular file: a named pipe or a device could block
            or never end.

    """
    try:
        # without O_NONBLOCK, a named pipe that nothing writes to blocks
        with open(path, 'rb', opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, 'it is not a regular file')
            if status.st_size > most:
                raise OSError(errno.EFBIG, f'it has {status.st_size} bytes, more than {most}')
            return file.read(status.st_size)
    except ValueError as error:  # a NUL character
        raise FileNotFoundError(errno.ENOENT, f'its path has an {one_line(error)}') from error


def check_writable(path: Path) -> None:
    """Check that `replacing` can write `path`. Call it before long work whose result goes there.

    Raises:
        EnetError: the folder cannot be created or written, or `path` is a folder.

    """
    _temporary(path).unlink()


@contextmanager
def replacing(path: Path, *, durable: bool = False, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds and is removed when it fails.

    The temporary file keeps the suffix, because image writers choose their format by it. Missing folders are created. After
    a loss of power, `path` is the whole old or the whole new file if `durable` is set, which waits for the disk. If
    `private` is set, no other user can read or write the file at any time; otherwise the umask decides.

    Raises:
        EnetError: the folder cannot be created or written, or `path` is a folder.

    """
    temporary = _temporary(path)
    try:
        yield temporary
        if not private and not temporary.is_symlink():  # chmod would change the link's target
            temporary.chmod(_FILE_MODE)  # mkstemp creates private files
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {one_line(error)}') from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what `replacing` left in `folder` when its process was killed. No other process may write there.

    Raises:
        EnetError: a file cannot be removed.

    """
    for path in folder.glob(f'{_PREFIX}*'):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise EnetError(f'cannot remove {path}: {one_line(error)}') from error


def _temporary(path: Path) -> Path:
    if path.is_dir():
        raise EnetError(f'cannot write {path}: it is a folder; use a file name')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # without the stem: a name of the greatest length could not become longer
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise EnetError(f'cannot write {path}: {one_line(error)}; choose a folder you can write to') from error
    os.close(handle)
    return Path(name)


def _flush(path: Path) -> None:
    """Write a file, or the names in a folder, from memory to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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

"""The cache folder: what was built for this machine, kept for later starts.

A file in it holds one line of JSON with everything its data depends on and the data's digest, then the data. It is used only
if that line is right, and only if no other user could have written it: an engine is code. Deleting any file is safe.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from enet_ros.errors import EnetError, one_line
from enet_ros.files import check_writable, replacing
from enet_ros.parsing import parse_json

log = logging.getLogger(__name__)

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Return $ENET_CACHE, else enet_ros in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(
        os.environ.get('ENET_CACHE')
        or os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'enet_ros')
    )


def check_cache() -> None:
    """Check that the cache can be used and written; create it where it is missing. Call it before long work.

    Raises:
        EnetError: it cannot.

    """
    _make_folder()
    check_writable(cache_folder() / 'entry')


def load_entry(name: str, key: Mapping[str, str]) -> bytes:
    """Return the data of the file `name` in the cache, made for `key`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it must not be used. The text says why.

    """
    path = cache_folder() / name
    written, digest, data = _split(path, _read(path))
    if written != key:
        raise ValueError(f'{path} was built {_difference(key, written)}')
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f'{path} is damaged')
    return data


def store_entry(name: str, key: Mapping[str, str], data: bytes) -> Path:
    """Put `data`, made for `key`, into the cache under `name`. Return the path.

    Raises:
        EnetError: the cache cannot be written, or other users can write it.

    """
    _make_folder()
    path = cache_folder() / name
    header = json.dumps({**key, 'sha256': hashlib.sha256(data).hexdigest()})
    with replacing(path, private=True) as temporary:
        temporary.write_bytes(header.encode() + b'\n' + data)
    return path


def private_folder(name: str) -> Path:
    """Return the folder `name` in the cache, for another program's files. Create it where it is missing.

    Raises:
        EnetError: it cannot be created, or other users can write it.

    """
    _make_folder()
    folder = cache_folder() / name
    _make_folder(folder)
    return folder


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on. If any of it changes, another engine is needed."""

    weights: str
    """SHA-256 of the model file; for int8 followed by a plus sign and that of the quantised graph."""
    size: str
    """Network size as WxH, or WxHxN for a batch of N > 1 images."""
    precision: str
    outputs: str
    """Names of the outputs."""
    builder: str
    """What defined its network: torch2trt or parser."""
    tensorrt: str
    """Version of TensorRT."""
    gpu: str
    """Name of the GPU and its compute capability."""
    package: str
    """Version of this package."""

    @property
    def path(self) -> Path:
        """Return the path in the cache. Engines for several GPUs and versions exist side by side."""
        everything = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return cache_folder() / f'{self._family}{everything[:16]}.engine'

    @property
    def _family(self) -> str:
        """Return the start of the file names of all engines with the same weights, size and precision."""
        return f'{self.weights[:16]}-{self.size}-{self.precision}-'

    def reason_to_build(self) -> str:
        """Return why an engine is built that the cache does not have, as text for the log."""
        for other in sorted(cache_folder().glob(f'{self._family}*.engine')):
            try:
                return f'{other.name} was built {_difference(asdict(self), _split(other, _read(other))[0])}'
            except (OSError, ValueError):
                continue
        return 'the cache has none'


def load_engine(key: EngineKey) -> bytes | None:
    """Return the cached engine of `key`. If it must be built, log why and return None."""
    try:
        return load_entry(key.path.name, asdict(key))
    except FileNotFoundError:
        reason = key.reason_to_build()
    except ValueError as error:
        reason = str(error)
    log.info('building an engine: %s', reason)
    return None


def store_engine(key: EngineKey, engine: bytes) -> Path | None:
    """Put the engine of `key` into the cache and return its path. If that fails, log a warning and return None."""
    try:
        return store_entry(key.path.name, asdict(key), engine)
    except EnetError as error:
        log.warning('the engine is not cached and must be built again at the next start: %s', error)
        return None


def _make_folder(folder: Path | None = None) -> None:
    """Create a folder (default: the cache) for this user alone. Raise EnetError if that fails, or if others can write it."""
    folder = folder or cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(folder, os.O_DIRECTORY):
            pass
    except OSError as error:
        raise EnetError(f'cannot write {folder}: {one_line(error)}; set ENET_CACHE to a folder you can write to') from error
    except ValueError as error:
        raise EnetError(str(error)) from error


def _read(path: Path) -> bytes:
    """Return the contents of a file in the cache. Raise FileNotFoundError, or ValueError with what is wrong."""
    try:
        # relative to the folder that was checked: it cannot be exchanged in between
        with (_opened(path.parent, os.O_DIRECTORY) as folder,
              _opened(path, os.O_NOFOLLOW | os.O_NONBLOCK, folder) as handle, open(handle, 'rb', closefd=False) as file):
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = 'a symbolic link' if error.errno == errno.ELOOP else one_line(error)
        raise ValueError(f'{path} cannot be read ({reason})') from error


@contextmanager
def _opened(path: Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """Yield a file descriptor of `path`, in `folder` if given, that nobody but this user and root can write.

    Raises:
        OSError: it cannot be opened.
        ValueError: others can write it, or it is neither a file nor a folder.

    """
    handle = os.open(path if folder is None else path.name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    try:
        status = os.fstat(handle)
        if not (stat.S_ISREG(status.st_mode) or flags & os.O_DIRECTORY):
            raise ValueError(f'{path} is not a file: delete it')
        if status.st_uid not in (os.geteuid(), 0):
            raise ValueError(f'{path} belongs to another user and is not used: delete it, or set ENET_CACHE')
        if status.st_mode & _WRITABLE_BY_OTHERS:
            raise ValueError(f'{path} can be written by other users and is not used: delete it, or run "chmod go-w {path}" '
                             'if you trust what it holds')
        yield handle
    finally:
        os.close(handle)


def _split(path: Path, contents: bytes) -> tuple[dict[str, str], str, bytes]:
    """Split the contents of a file into key, digest and data. Raise ValueError if that is not possible."""
    line, _, data = contents.partition(b'\n')
    try:
        key = parse_json(line)
        return key, key.pop('sha256'), data
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f'{path} is damaged') from None


def _difference(key: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return, as text for the log, where `other` differs from `key`."""
    return ', '.join(f'for {name} {other.get(name)}, not {key[name]}' for name in key if key[name] != other.get(name))

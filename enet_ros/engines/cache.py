"""The cache folder, and the engines in it that were built for one GPU.

An engine's file holds one line of JSON with everything it was built for, then the engine. An engine is used only if its file
name and that line are right. Deleting any file is safe: it is built again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from enet_ros.errors import EnetError, one_line
from enet_ros.files import replacing

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return $ENET_CACHE, else enet_ros in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(
        os.environ.get('ENET_CACHE')
        or os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'enet_ros')
    )


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

    def difference(self, other: EngineKey) -> str:
        """Return, as text for the log, where `other` differs from this key."""
        mine, theirs = asdict(self), asdict(other)
        return ', '.join(f'for {name} {theirs[name]}, not {mine[name]}' for name in mine if mine[name] != theirs[name])


def load_engine(key: EngineKey) -> bytes | None:
    """Return the cached engine of `key`. If it must be built, log why and return None."""
    try:
        return _read(key.path, key)
    except FileNotFoundError:
        reason = 'the cache has none'
        for other in sorted(key.path.parent.glob(f'{key._family}*.engine')):
            try:
                reason = f'{other.name} was built {key.difference(_header(other.read_bytes())[0])}'
            except (OSError, ValueError):
                continue
    except OSError as error:
        reason = f'{key.path} cannot be read ({one_line(error)})'
    except ValueError as error:
        reason = f'{key.path} {error}'
    log.info('building an engine: %s', reason)
    return None


def store_engine(key: EngineKey, engine: bytes) -> Path | None:
    """Put the engine of `key` into the cache and return its path. If that fails, log a warning and return None."""
    header = json.dumps({**asdict(key), 'sha256': hashlib.sha256(engine).hexdigest()})
    try:
        with replacing(key.path) as temporary:
            temporary.write_bytes(header.encode() + b'\n' + engine)
    except EnetError as error:
        log.warning('the engine is not cached and must be built again at the next start: %s', error)
        return None
    return key.path


def _read(path: Path, key: EngineKey) -> bytes:
    """Return the engine in `path`. Raise ValueError with what is wrong if it is not that of `key`."""
    written, digest, engine = _header(path.read_bytes())
    if written != key:
        raise ValueError(f'was built {key.difference(written)}')
    if hashlib.sha256(engine).hexdigest() != digest:
        raise ValueError('is damaged')
    return engine


def _header(data: bytes) -> tuple[EngineKey, str, bytes]:
    """Split a file into its key, the engine's hash and the engine. Raise ValueError if that is not possible."""
    line, _, engine = data.partition(b'\n')
    try:
        fields = json.loads(line)
        return EngineKey(**{name: fields.pop(name) for name in EngineKey.__dataclass_fields__}), fields['sha256'], engine
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError('is damaged') from None

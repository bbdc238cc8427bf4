"""The cache folder, and in it the engines that were built for one GPU: each with what it was built of and for.

An engine's file holds one line of JSON, which says that, and the engine. One whose name or line does not fit is never run;
deleting any costs a build.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from enet_ros.errors import EnetError
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
    """All that an engine depends on: with any of it changed, another one is needed."""

    weights: str
    """SHA-256 of the model file; with int8 also that of the quantised graph, after a plus."""
    size: str
    """Network size, WxH, and the batch behind it, WxHxN, where it is above 1."""
    precision: str
    outputs: str
    """Names of the outputs."""
    builder: str
    """What it was built through: torch2trt or parser."""
    tensorrt: str
    """Version of TensorRT."""
    gpu: str
    """Name of the GPU and its compute capability."""
    package: str
    """Version of this package."""

    @property
    def path(self) -> Path:
        """Return where in the cache the engine lies: engines of several GPUs and versions lie side by side."""
        everything = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return cache_folder() / f'{self._family}{everything[:16]}.engine'

    @property
    def _family(self) -> str:
        """Return what the names of all engines of the same weights, size and precision start with."""
        return f'{self.weights[:16]}-{self.size}-{self.precision}-'

    def difference(self, other: EngineKey) -> str:
        """Return, for the log, what `other` was built for that this is not."""
        mine, theirs = asdict(self), asdict(other)
        return ', '.join(f'for {name} {theirs[name]}, not {mine[name]}' for name in mine if mine[name] != theirs[name])


def load_engine(key: EngineKey) -> bytes | None:
    """Return the cached engine of `key`, or None when it must be built, having logged why."""
    try:
        return _read(key.path, key)
    except FileNotFoundError:
        reason = 'there is none in the cache'
        for other in sorted(key.path.parent.glob(f'{key._family}*.engine')):
            try:
                reason = f'{other.name} was built {key.difference(_header(other.read_bytes())[0])}'
            except (OSError, ValueError):
                continue
    except OSError as error:
        reason = f'{key.path} cannot be read ({error.strerror})'
    except ValueError as error:
        reason = f'{key.path} {error}'
    log.info('building an engine: %s', reason)
    return None


def store_engine(key: EngineKey, engine: bytes) -> Path | None:
    """Write the engine of `key` into the cache, whole or not at all; where that is not possible, log it and return None."""
    header = json.dumps({**asdict(key), 'sha256': hashlib.sha256(engine).hexdigest()})
    try:
        with replacing(key.path) as temporary:
            temporary.write_bytes(header.encode() + b'\n' + engine)
    except EnetError as error:
        log.warning('the engine is not cached and will be built again at the next start: %s', error)
        return None
    return key.path


def _read(path: Path, key: EngineKey) -> bytes:
    """Return the engine in `path`; raises ValueError, saying what is wrong, when it is not that of `key`."""
    written, digest, engine = _header(path.read_bytes())
    if written != key:
        raise ValueError(f'was built {key.difference(written)}')
    if hashlib.sha256(engine).hexdigest() != digest:
        raise ValueError('is damaged')
    return engine


def _header(data: bytes) -> tuple[EngineKey, str, bytes]:
    """Split a file into its key, the engine's hash and the engine; raises ValueError for anything else."""
    line, _, engine = data.partition(b'\n')
    try:
        fields = json.loads(line)
        return EngineKey(**{name: fields.pop(name) for name in EngineKey.__dataclass_fields__}), fields['sha256'], engine
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError('is damaged') from None

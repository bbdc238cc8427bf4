"""TensorRT's timing cache: what it measured in earlier builds, kept so that later ones take less time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorrt as trt

from enet_ros.engines.cache import load_entry, store_entry
from enet_ros.errors import EnetError

log = logging.getLogger(__name__)


@contextmanager
def timing_cache(config: Any, device: str) -> Iterator[None]:  # noqa: ANN401 - TensorRT's
    """Give a build in the block what earlier builds measured on `device`, and keep what it measures, also if it fails."""
    key = {'tensorrt': trt.__version__, 'gpu': device}
    name = f'timing-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.cache'
    try:
        known = load_entry(name, key)
    except FileNotFoundError:
        known = b''
    except ValueError as error:
        log.info('kernels are measured again: %s', error)
        known = b''
    # TensorRT refuses what it measured on another GPU or with another version, in either call
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b''), False)
    try:
        yield
    finally:
        measured = bytes(config.get_timing_cache().serialize())
        if measured != known:
            try:
                store_entry(name, key, measured)
            except EnetError as error:
                log.warning('the times of the kernels are not cached, and the next build takes as long: %s', error)

"""Simulate a machine that runs out of something, and measure what is used."""

from __future__ import annotations

import resource
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes of a file fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def peak_memory() -> Iterator[SimpleNamespace]:
    """Yield an object whose `bytes` are, after the block, the most that Python and NumPy had allocated in it."""
    used = SimpleNamespace(bytes=0)
    tracemalloc.start()
    try:
        yield used
        used.bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def memory_limit(size: int) -> Iterator[None]:
    """Let allocations fail that need more than `size` bytes beyond the memory in use."""
    pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)

"""Return freed memory to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Return all memory that is free now, as after an engine was released. No effect where the C library is not glibc.

    Source: malloc_trim(3).
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

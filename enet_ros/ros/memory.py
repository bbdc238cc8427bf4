"""Keep the memory of freed images in the process, for the next images.

By default glibc returns buffers of this size to the system when they are freed. The next image then causes a page fault for
every 4 KiB of every copy of it, which takes longer than copying the pixels. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of the options in malloc.h
_LARGEST_BUFFER = 32 * 2**20  # the largest threshold that every glibc accepts
_LARGEST_REST = 128 * 2**20


def keep_freed_memory() -> None:
    """Keep freed buffers of up to 32 MiB, and up to 128 MiB of them. No effect where the C library is not glibc."""
    library = ctypes.CDLL(None)
    with suppress(AttributeError):
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BUFFER)
        library.mallopt(_TRIM_THRESHOLD, _LARGEST_REST)


def return_freed_memory() -> None:
    """Return all memory that is free now to the system, as after an engine was released."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

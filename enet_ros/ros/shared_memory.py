"""Find what is wrong with the shared memory of Fast DDS: segments of dead processes, and no room for a new one.

A process creates one segment when its first node starts, reserves all of its memory, and locks a file beside it until it
ends. After `kill -9` the segment stays until a live process that had mapped it removes it, or `fastdds shm clean`; later
starts do not. Without room for a segment Fast DDS prints "Failed to create segment" without the cause, and uses UDP.
"""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path
from shutil import disk_usage

FOLDER = Path('/dev/shm')
SEGMENT_SIZE = 71_000_000
"""Bytes that a process with `config/fastdds.xml` needs in `FOLDER`."""
# "fastdds" since Fast DDS 3; ports, fastrtps_port7000, are small, and later starts use them again
_SEGMENT = re.compile(r'fast(rtps|dds)_[0-9a-f]{16}')
_STARTING = 10.0
"""Seconds in which a process has surely locked its file."""
_CLEAN = "'fastdds shm clean'"


def stale_segments(folder: Path = FOLDER) -> list[Path]:
    """Return the segments of Fast DDS whose process is dead.

    The kernel keeps the lock of a process until it ends, also while it is stopped. A segment that cannot be checked, such as
    that of another user, is not returned. Nothing is changed.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name) and _is_stale(path))


def shared_memory_warnings(folder: Path = FOLDER) -> list[str]:
    """Return what to warn about, one line each, with the remedy. Call it after the node is created."""
    warnings = []
    if stale := stale_segments(folder):
        size = sum(map(_size, stale))
        warnings.append(f'dead processes left {len(stale)} shared-memory segment(s) of {size / 1e6:.0f} MB in {folder}: '
                        f'remove them with {_CLEAN}')
    if folder.is_dir() and (free := disk_usage(folder).free) < SEGMENT_SIZE and not _has_segment(folder):
        warnings.append(f'images go over UDP, which loses many, because {folder} has {free / 1e6:.0f} MB free and a process '
                        f'needs {SEGMENT_SIZE / 1e6:.0f} MB: enlarge it (docker run --shm-size=1g) or try {_CLEAN}')
    return warnings


def _is_stale(segment: Path) -> bool:
    lock = segment.with_name(f'{segment.name}_el')
    try:
        # a process that is starting has created the file, but may not have locked it: this lock could be in its way
        if time.time() - lock.stat().st_mtime < _STARTING:
            return False
        with open(lock, 'rb') as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file unlocks it
    except OSError:  # locked by its process, not readable, or gone
        return False
    return True


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:  # a live process, or fastdds shm clean, has removed it meanwhile
        return 0


def _has_segment(folder: Path) -> bool:
    """Return whether this process has mapped a segment."""
    mapped = Path('/proc/self/maps').read_text()
    return re.search(f'{re.escape(str(folder))}/{_SEGMENT.pattern}$', mapped, re.MULTILINE) is not None

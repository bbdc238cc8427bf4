"""What glibc does with freed buffers, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = r"""
import resource
from enet_ros.ros.memory import return_freed_memory

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize()

blocks = [b'\1' * 60_000 for _ in range(500)]  # small enough for glibc to keep them
last = b'\1' * 60_000  # keeps the end of the heap in use
del blocks
before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc: there is nothing to return')
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, '-c', _PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20_000_000

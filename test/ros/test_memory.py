"""What glibc does with freed buffers, in processes of their own: the setting cannot be undone."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has these settings')

_PROGRAM = r"""
import resource
from enet_ros.ros.memory import keep_freed_memory, return_freed_memory

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def use(count, size=6_220_800):  # bytes of a 1080p image
    for _ in range(count):
        copies = [b'\1' * size for _ in range(4)]  # DDS, the message and its array exist at the same time

{prepare}
use(5)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
before = resident()
return_freed_memory()
print(before - resident())
"""


def _use_images(prepare: str) -> tuple[int, int]:
    """Return the page faults of 20 buffers and the bytes that were returned after them."""
    program = _PROGRAM.format(prepare=prepare)
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    faults, returned = done.stdout.split()
    return int(faults), int(returned)


def test_kept_buffers_cause_no_page_faults_and_can_be_returned() -> None:
    faults, returned = _use_images('keep_freed_memory()')
    assert faults < 100, 'buffers of an image are taken from the system again'
    assert returned > 5_000_000, 'the memory stays in the process'


def test_without_the_setting_every_buffer_causes_page_faults() -> None:
    faults, _ = _use_images('')
    assert faults > 10_000, 'the setting is no longer needed'

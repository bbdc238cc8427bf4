"""What processes leave in /dev/shm when they are killed, with real processes of Fast DDS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from rclpy.utilities import get_rmw_implementation_identifier

from enet_ros.ros import shared_memory
from enet_ros.ros.shared_memory import FOLDER, SEGMENT_SIZE, shared_memory_warnings, stale_segments

pytestmark = pytest.mark.skipif(
    not get_rmw_implementation_identifier().startswith('rmw_fastrtps'), reason='needs RMW_IMPLEMENTATION=rmw_fastrtps_cpp'
)

NODE = """
import signal, rclpy
rclpy.init()
node = rclpy.create_node('crash')
from enet_ros.ros.shared_memory import shared_memory_warnings
for line in shared_memory_warnings():
    print('WARNING', line)
print('ready', flush=True)
signal.pause()
"""


def _warnings(popen: subprocess.Popen[str]) -> list[str]:
    """Return what a `NODE` warns about; wait until it is ready."""
    lines = list(takewhile(lambda line: line != 'ready\n', popen.stdout))
    assert popen.poll() is None, lines
    return [line for line in lines if line.startswith('WARNING')]


class Crash:
    """A node that can be killed, and its shared-memory segment."""

    def __init__(self) -> None:
        # a live process of the same domain would remove the segment
        self.popen = subprocess.Popen([sys.executable, '-c', NODE], stdout=subprocess.PIPE, text=True,
                                      env={**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF', 'ROS_DOMAIN_ID': '101'})
        _warnings(self.popen)  # waits until it is ready
        mapped = Path(f'/proc/{self.popen.pid}/maps').read_text().split()
        self.segment = Path(next(word for word in mapped if word.startswith(f'{FOLDER}/fast') and 'port' not in word))
        self.lock = self.segment.with_name(f'{self.segment.name}_el')

    def age(self) -> None:
        """Make the files look as if they were created long ago: new ones are never called stale."""
        os.utime(self.lock, (0, 0))

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def crashes() -> Iterator[list[Crash]]:
    made = [Crash(), Crash()]
    yield made
    for crash in made:
        crash.kill()
        crash.segment.unlink(missing_ok=True)
        crash.lock.unlink(missing_ok=True)


def test_only_the_segment_of_a_killed_process_is_stale(crashes: list[Crash]) -> None:
    killed, alive = crashes
    killed.age()
    alive.age()
    assert not {killed.segment, alive.segment} & set(stale_segments())
    alive.popen.send_signal(signal.SIGSTOP)  # a stopped process is not dead
    killed.kill()
    stale = stale_segments()
    assert killed.segment in stale and alive.segment not in stale
    assert killed.segment.stat().st_size > 1_000_000  # still there: nothing is removed
    assert f'{len(stale)} shared-memory segment(s)' in shared_memory_warnings()[0]


def test_a_process_that_is_just_starting_is_not_called_dead(crashes: list[Crash]) -> None:
    crashes[0].kill()
    assert crashes[0].lock.exists() and crashes[0].segment not in stale_segments()


@pytest.mark.skipif(shutil.which('fastdds') is None, reason='needs the fastdds tool: source your ROS installation')
def test_the_named_command_removes_what_is_stale_and_nothing_else(crashes: list[Crash]) -> None:
    killed, alive = crashes
    killed.age()
    killed.kill()
    assert killed.segment in stale_segments()
    subprocess.run(['fastdds', 'shm', 'clean'], check=True, capture_output=True)
    assert not killed.segment.exists() and killed.segment not in stale_segments()
    assert alive.segment.exists() and alive.popen.poll() is None


def test_the_named_size_is_that_of_the_shipped_profile(crashes: list[Crash]) -> None:
    size = crashes[0].segment.stat().st_blocks * 512
    assert 0.9 * SEGMENT_SIZE < size < SEGMENT_SIZE


@pytest.mark.parametrize(('room', 'warned'), [('8m', True), ('100m', False)], ids=['8 MB', '100 MB'])
def test_a_process_without_room_for_a_segment_is_warned(room: str, warned: bool) -> None:
    unshare = ['unshare', '--map-root-user', '--mount']
    if subprocess.run([*unshare, 'mount', '-t', 'tmpfs', 'tmpfs', FOLDER], capture_output=True, check=False).returncode:
        pytest.skip(f'needs to mount a small {FOLDER}: allow unprivileged user namespaces, or run as root')
    script = f'mount -t tmpfs -o size={room} tmpfs {FOLDER} && exec "$0" -c "$1"'
    with subprocess.Popen([*unshare, 'sh', '-c', script, sys.executable, NODE], stdout=subprocess.PIPE, text=True) as popen:
        warnings = _warnings(popen)
        popen.kill()
    # with 100 MB one process gets its segment, and 30 MB stay free
    assert [line.startswith('WARNING images go over UDP') for line in warnings] == [True] * warned


def test_there_is_nothing_to_report_without_the_folder(tmp_path: Path) -> None:
    assert stale_segments(tmp_path / 'shm') == [] == shared_memory_warnings(tmp_path / 'shm')


def test_a_segment_that_is_removed_meanwhile_does_not_stop_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / 'fastrtps_0123456789abcdef'
    monkeypatch.setattr(shared_memory, 'stale_segments', lambda folder: [gone])
    assert 'left 1 shared-memory segment(s) of 0 MB' in shared_memory_warnings(tmp_path)[0]

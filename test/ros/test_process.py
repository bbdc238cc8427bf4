"""The end of the node's process: signals in every state, and `kill -9` with a restart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from ros_nodes import PATIENCE, Process, Robot, wait_until

from enet_ros.images.synthetic import draw_scene

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Header

from enet_ros.ros.messages import to_message
from enet_ros.ros.shared_memory import FOLDER, stale_segments

pytestmark = pytest.mark.usefixtures('ros', 'processes')

LIMIT = 2.0
"""Seconds in which the node ends after a signal."""


def start(robot: Robot, log: Path, **parameters: object) -> Process:
    return Process(log, remaps=[f'__ns:={robot.get_namespace()}'], **parameters)


@contextmanager
def streaming(robot: Robot) -> Iterator[None]:
    """Send 640x480 images at 30 Hz in the background."""
    message = to_message(draw_scene(3, 640, 480)[0], 'bgr8', Header())
    stopped = threading.Event()

    def stream() -> None:
        while not stopped.wait(1 / 30):
            robot.send(message)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def end(process: Process, how: signal.Signals) -> float:
    """Send a signal, and return the seconds until the process ends."""
    begin = time.monotonic()
    assert process.stop(how) == 0, process.log()
    return time.monotonic() - begin


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'idle', 'under load'])
def test_a_signal_ends_the_node_quietly_within_two_seconds(
    state: str, how: signal.Signals, robot: Robot, shipped_model: Path, tmp_path: Path
) -> None:
    autostart = state not in ('unconfigured', 'inactive')
    process = start(robot, tmp_path / 'log', model=shipped_model, autostart=autostart)
    wait_until(lambda: ('enet', robot.get_namespace()) in robot.get_node_names_and_namespaces(), process.log)
    if state == 'under load':
        with streaming(robot):
            wait_until(lambda: len(robot.labels) > 10, process.log)
            seconds = end(process, how)
    else:
        if state == 'unconfigured':
            assert robot.state() == 'unconfigured'
        elif state == 'inactive':
            assert robot.change_state('configure')
        elif state == 'idle':
            process.wait_for_log('segmenting')
        seconds = end(process, how)
    assert not re.search('Traceback|FATAL|ERROR', process.log()), process.log()
    assert seconds < LIMIT  # about 0.3 on a quiet machine


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_while_the_engine_is_created_ends_the_node_quietly_after_that(
    how: signal.Signals, robot: Robot, shipped_model: Path, tmp_path: Path
) -> None:
    process = start(robot, tmp_path / 'log', model=shipped_model)
    wait_until(lambda: ('enet', robot.get_namespace()) in robot.get_node_names_and_namespaces(), process.log)
    assert process.stop(how) == 0
    assert not re.search('Traceback|FATAL|ERROR', process.log()), process.log()


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_during_the_imports_ends_the_program_silently(how: signal.Signals) -> None:
    program = Path(__file__).parents[2] / 'scripts/lib/segment_node'
    popen = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # NumPy is one of the first modules, long before ROS starts
    wait_until(lambda: '_multiarray_umath' in Path(f'/proc/{popen.pid}/maps').read_text(), lambda: 'NumPy is not imported')
    popen.send_signal(how)
    assert popen.communicate(timeout=PATIENCE)[0] == b'' and popen.returncode == -how


def test_the_path_of_the_model_can_start_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    process = Process(tmp_path / 'log', model='~/none.safetensors')
    assert process.popen.wait(PATIENCE) == 1
    assert f'no model file {tmp_path}/none.safetensors' in process.log()


@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_goes_to_stdout_and_is_no_error(option: str) -> None:
    done = subprocess.run([sys.executable, '-m', 'enet_ros.ros.segment_node', option, '--ros-args', '-r', 'image:=front'],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith('usage: segment_node') and '--ros-args -p' in done.stdout and 'docs/node.md' in done.stdout


def segments(pid: int | str) -> set[Path]:
    """Return the shared-memory segments of Fast DDS that a process has mapped: its own, and those of its peers."""
    words = Path(f'/proc/{pid}/maps').read_text().split()
    return {Path(word) for word in words if word.startswith(f'{FOLDER}/fast') and 'port' not in word}


@contextmanager
def killed(process: Process, peers: set[Path]) -> Iterator[list[Path]]:
    """Kill a node for the block, and remove its segments after it: all that are mapped but those of `peers`."""
    own = sorted(segments(process.popen.pid) - peers)
    process.stop(signal.SIGKILL)
    try:
        yield own
    finally:
        for segment in own:
            segment.unlink(missing_ok=True)
            segment.with_name(f'{segment.name}_el').unlink(missing_ok=True)


@pytest.mark.parametrize('load', [False, True], ids=['idle', 'under load'])
def test_a_restart_after_kill_9_serves_the_same_subscribers(
    load: bool, robot: Robot, small_model: Path, tmp_path: Path
) -> None:
    peers = segments('self')
    process = start(robot, tmp_path / 'log', model=small_model)
    robot.wait_for_node()
    for number in range(2):
        with streaming(robot) if load else nullcontext(), killed(process, peers):
            process = start(robot, tmp_path / f'log{number}', model=small_model)
            robot.overlays.clear()
            robot.wait_for_node()
        assert robot.ask(robot.picture()).shape == (64, 96)
        assert robot.set(output_size='network').successful and robot.get('output_size') == 'network'
        assert robot.state() == 'active'
    assert process.stop() == 0
    assert 'Traceback' not in process.log()


@pytest.mark.skipif(
    not get_rmw_implementation_identifier().startswith('rmw_fastrtps'), reason='needs RMW_IMPLEMENTATION=rmw_fastrtps_cpp'
)
def test_a_restart_after_kill_9_names_the_memory_that_the_first_left(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a live process of the same domain would remove the segment
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF')
    monkeypatch.setenv('ROS_DOMAIN_ID', '101')
    first = Process(tmp_path / 'first', model=small_model)
    first.wait_for_log('segmenting')
    with killed(first, set()) as left:
        os.utime(left[0].with_name(f'{left[0].name}_el'), (0, 0))  # new files are never called stale
        assert left[0] in stale_segments()
        second = Process(tmp_path / 'second', model=small_model)
        second.wait_for_log('segmenting')
        assert second.stop() == 0
    assert re.search(r'\[WARN\].*dead processes left .* remove them with .fastdds shm clean', second.log()), second.log()

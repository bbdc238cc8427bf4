from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope='module')
def ros() -> Iterator[None]:
    """Keep rclpy initialised for the tests of a module."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def processes() -> Iterator[None]:
    """Kill the nodes that a failed test leaves running."""
    started = pytest.importorskip('ros_nodes').Process.started
    before = len(started)
    yield
    for popen in started[before:]:
        popen.kill()

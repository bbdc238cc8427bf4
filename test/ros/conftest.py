from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ros_nodes import Robot


@pytest.fixture(scope='module')
def ros() -> Iterator[None]:
    """Keep rclpy initialised for the tests of a module."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def robot(ros: None, tmp_path: Path) -> Iterator[Robot]:
    """Spin a robot in a namespace of its own."""
    ros_nodes = pytest.importorskip('ros_nodes')
    robot = ros_nodes.Robot(ros_nodes.namespace_for(tmp_path))
    with ros_nodes.spinning(robot):
        yield robot
    robot.destroy_node()


@pytest.fixture
def processes() -> Iterator[None]:
    """Kill the nodes that a failed test leaves running."""
    started = pytest.importorskip('ros_nodes').Process.started
    before = len(started)
    yield
    for popen in started[before:]:
        popen.kill()

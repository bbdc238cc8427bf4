"""Run the node as a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from ros_nodes import Robot, wait_until

from enet_ros.errors import EnetError
from enet_ros.ros.client import spinning
from enet_ros.ros.node_process import running_node


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_parameters_files_and_remappings_reach_the_node_and_it_ends_with_the_block(
    ros: None, small_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters: {threads: 1, overlay_alpha: 0.25}\n')
    robot = Robot('/node_process')
    parameters = {'model': small_model, 'threads': 2, 'classes': '', 'lazy': False}
    remappings = {'__ns': '/node_process'}
    with spinning(robot), running_node(
        parameters, remappings=remappings, parameter_files=[file], log_folder=tmp_path / 'log'
    ) as process:
        robot.wait_for_node()
        values = [robot.get(name) for name in ('model', 'threads', 'overlay_alpha', 'lazy')]
        process.check()
        assert _is_running(process.pid)
    robot.destroy_node()
    assert values == [str(small_model), 2, 0.25, False]
    assert not _is_running(process.pid)
    assert list((tmp_path / 'log').glob('*.log'))


def test_a_node_that_stops_is_an_error(tmp_path: Path) -> None:
    with running_node({'overlay_alpha': 2.0}, log_folder=tmp_path) as process:

        def has_stopped() -> bool:
            try:
                process.check()
            except EnetError as error:
                assert str(error) == 'the node stopped with exit code 2: see its messages above'
                return True
            return False

        wait_until(has_stopped, lambda: 'the node runs with a bad parameter')

"""Requests and times that rclpy raises for: the node answers and goes on, and logs one line that nobody can forge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from ros_nodes import Process, Robot, wait_until
from rosgraph_msgs.msg import Clock

from enet_ros.ros.client import spinning

pytestmark = pytest.mark.usefixtures('ros')

FORGED = '\x1b[31m\n[INFO] forged'


@pytest.fixture(scope='module')
def world(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Robot, Process]]:
    robot = Robot('/bad_requests')
    process = Process(tmp_path_factory.mktemp('requests') / 'log', remaps=['__ns:=/bad_requests'], model=small_model,
                      precision='fp32', use_sim_time=True)
    try:
        with spinning(robot):
            robot.wait_for_node()
            yield robot, process
        assert process.stop() == 0, process.log()
    finally:
        process.popen.kill()
        robot.destroy_node()


def check(world: tuple[Robot, Process], start: int, reason: str) -> None:
    """Check that the node works, and that since `start` the log has `reason` once and nothing else."""
    robot, process = world
    assert robot.ask(robot.picture()).shape == (64, 96) and robot.state() == 'active'
    process.wait_for_log(reason, start)
    lines = process.log()[start:].splitlines()
    # the same kind of error is logged once in 5 s
    assert len(lines) == 1 and lines[0].startswith('[ERROR]') and '\x1b' not in lines[0], lines


def test_a_parameter_of_an_unknown_type_is_answered(world: tuple[Robot, Process]) -> None:
    robot, process = world
    start = len(process.log())
    for number in range(200, 220):
        parameters = [Parameter(name='classes', value=ParameterValue(type=number))]
        robot.call(SetParameters, 'enet/set_parameters', SetParameters.Request(parameters=parameters))
        robot.call(SetParametersAtomically, 'enet/set_parameters_atomically',
                   SetParametersAtomically.Request(parameters=parameters))
    check(world, start, 'ValueError: 200 is not a valid')


def test_a_request_for_very_many_parameters_is_refused(world: tuple[Robot, Process]) -> None:
    robot, process = world
    start = len(process.log())
    for count, answers in ((1000, 1000), (1001, 0)):
        response = robot.call(GetParameters, 'enet/get_parameters', GetParameters.Request(names=['classes'] * count))
        assert len(response.values) == answers
    check(world, start, 'get_parameters refused: it has more than 1000 items')


def test_a_transition_that_the_state_does_not_have_is_refused(world: tuple[Robot, Process]) -> None:
    robot, process = world
    start = len(process.log())
    for transition in (Transition(label=FORGED), Transition(id=99), Transition(id=1), Transition(label='configure')):
        for _ in range(5):
            assert not robot.call(ChangeState, 'enet/change_state', ChangeState.Request(transition=transition)).success
    check(world, start, 'cannot change state')


def test_a_clock_before_zero_is_ignored(world: tuple[Robot, Process]) -> None:
    robot, process = world
    clock = robot.create_publisher(Clock, '/clock', 10)
    wait_until(lambda: any(info.node_name == 'enet' for info in robot.get_subscriptions_info_by_topic('/clock')),
               lambda: 'the node does not subscribe to /clock')
    start = len(process.log())
    for number in range(1, 20):
        clock.publish(Clock(clock=Time(sec=-number)))
        time.sleep(0.02)
    check(world, start, 'ValueError: Seconds')
    robot.destroy_publisher(clock)

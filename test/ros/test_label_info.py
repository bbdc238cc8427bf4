"""The names of the classes as Nav2 takes them: vision_msgs/LabelInfo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_nodes import Process, Robot, wait_until

from enet_ros.labels import CAMVID

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')
pytest.importorskip('vision_msgs', reason='needs vision_msgs, which is not on PyPI: apt install ros-$ROS_DISTRO-vision-msgs')

from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from vision_msgs.msg import LabelInfo

from enet_ros.ros.client import spinning

pytestmark = pytest.mark.usefixtures('ros', 'processes')

NAMES = dict(enumerate(CAMVID.names))


@pytest.fixture
def robot(small_model: Path, tmp_path: Path) -> Iterator[Robot]:
    """Run a node, and return a robot in its namespace."""
    robot = Robot(f'/label_info_{tmp_path.name}'.replace('-', '_'))
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}'], model=small_model)
    with spinning(robot):
        process.wait_for_log('segmenting')
        yield robot
        assert process.stop() == 0
    robot.destroy_node()


def subscribe(robot: Robot) -> list[LabelInfo]:
    """Return the list of the messages that arrive from now on."""
    messages: list[LabelInfo] = []
    qos = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    robot.create_subscription(LabelInfo, 'enet/label_info', messages.append, qos)
    return messages


def names(message: LabelInfo) -> dict[int, str]:
    return {entry.class_id: entry.class_name for entry in message.class_map}


def test_the_names_come_before_the_first_labels_and_to_late_subscribers(robot: Robot) -> None:
    early = subscribe(robot)
    wait_until(lambda: early, lambda: 'no label_info')
    assert names(early[0]) == NAMES and early[0].threshold == 0.0 and early[0].header.stamp.sec > 0
    robot.wait_for_node()
    late = subscribe(robot)
    wait_until(lambda: late, lambda: 'no label_info for a late subscriber')
    assert late == early


def test_the_names_are_published_again_only_when_the_classes_change(robot: Robot) -> None:
    messages = subscribe(robot)
    for values in ({'classes': 'Road, Car'}, {'classes': 'Road, Car'}, {'overlay_alpha': 0.2}, {'classes': ''}):
        assert robot.set(**values).successful
    wait_until(lambda: len(messages) > 1 and names(messages[-1]) == NAMES, lambda: str(messages))
    road_car = {3: 'Road', 8: 'Car'}
    assert [names(message) for message in messages][-2:] == [road_car, NAMES]
    assert len(messages) <= 3  # the first may have been replaced before the subscription matched

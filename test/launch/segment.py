"""launch_testing: the node under launch, from start to a clean end. test/ros/test_launch_testing.py runs it."""

from __future__ import annotations

import os
import time
import unittest
from pathlib import Path
from typing import Any

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image


def generate_test_description() -> LaunchDescription:
    """Start the node with its default arguments, but for the model."""
    launch_file = Path(get_package_share_directory('enet_ros')) / 'launch' / 'segment.launch.py'
    return LaunchDescription([
        IncludeLaunchDescription(str(launch_file), launch_arguments=[('model', os.environ.get('ENET_TEST_MODEL', ''))]),
        launch_testing.actions.ReadyToTest(),
    ])


class TestNode(unittest.TestCase):
    """Runs beside the node."""

    def setUp(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('tester')

    def tearDown(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown()

    def test_the_node_becomes_active(self) -> None:
        client = self.node.create_client(GetState, '/enet/get_state')
        self.assertTrue(client.wait_for_service(30))
        deadline = time.monotonic() + 60
        state = State()
        while state.id != State.PRIMARY_STATE_ACTIVE and time.monotonic() < deadline:
            answer = client.call_async(GetState.Request())
            rclpy.spin_until_future_complete(self.node, answer, timeout_sec=10)
            state = answer.result().current_state
        self.assertEqual(state.id, State.PRIMARY_STATE_ACTIVE)

    def test_an_image_gives_labels(self) -> None:
        received: list[Image] = []
        self.node.create_subscription(Image, '/enet/labels', received.append, 1)
        camera = self.node.create_publisher(Image, '/camera/image_raw', 1)
        image = Image(width=96, height=64, step=288, encoding='bgr8', data=bytes(64 * 288))
        deadline = time.monotonic() + 60
        while not received and time.monotonic() < deadline:
            camera.publish(image)
            rclpy.spin_once(self.node, timeout_sec=0.2)
        self.assertEqual([(labels.width, labels.height, labels.encoding) for labels in received[:1]], [(96, 64, 'mono8')])


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """Runs after launch has interrupted the node."""

    def test_the_node_ends_cleanly(self, proc_info: Any, proc_output: Any) -> None:  # noqa: ANN401 - launch_testing has no types
        launch_testing.asserts.assertExitCodes(proc_info)
        launch_testing.asserts.assertInStderr(proc_output, 'segmented', 'segment_node-1')

"""A subscriber that hangs must not take the labels from the others, nor keep the node from stopping."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.images.synthetic import draw_scene
from enet_ros.ros.messages import to_message

PATIENCE = 30.0
FRAMES = 40
TOPICS = ('/enet/labels', '/enet/overlay')
HANGING = """
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('hanging')
got = set()
for topic in ('/enet/labels', '/enet/overlay'):
    node.create_subscription(Image, topic, lambda _, topic=topic: got.add(topic), 1)
while len(got) < 2:
    rclpy.spin_once(node)
print('connected', flush=True)
rclpy.spin(node)
"""


class Robot(Node):
    """A camera, and a healthy subscriber of labels and overlays."""

    def __init__(self, context: Context) -> None:
        super().__init__('robot', context=context)
        self._camera = self.create_publisher(Image, 'image', 5)
        self._picture = to_message(draw_scene(5, 640, 480)[0], 'bgr8', Header())  # several fragments of Fast DDS
        self._got: dict[str, set[int]] = {topic: set() for topic in TOPICS}
        self._arrived = threading.Condition()
        self._sent = 0
        for topic, got in self._got.items():
            self.create_subscription(Image, topic, lambda message, got=got: self._keep(got, message), 50)

    def _keep(self, got: set[int], message: Image) -> None:
        with self._arrived:
            got.add(message.header.stamp.sec)
            self._arrived.notify_all()

    def ask(self, patience: float) -> bool:
        """Send one image, and return whether both results of it came within `patience` seconds."""
        self._sent += 1
        self._picture.header.stamp = Time(sec=self._sent)
        self._camera.publish(self._picture)
        with self._arrived:
            return self._arrived.wait_for(lambda: all(self._sent in got for got in self._got.values()), patience)

    def pace(self) -> float:
        """Send each of `FRAMES` images when the results of the one before are there. Return the seconds for all of them."""
        start = time.monotonic()
        for number in range(FRAMES):
            assert self.ask(PATIENCE), f'nothing came back for image {number} of {FRAMES}'
        return time.monotonic() - start


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    monkeypatch.setenv('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    context = Context()
    rclpy.init(context=context)
    robot = Robot(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(robot)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield robot
    executor.shutdown()
    thread.join()
    robot.destroy_node()
    context.shutdown()


@pytest.fixture
def node(robot: Robot, small_model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return the running node."""
    command = [sys.executable, '-m', 'enet_ros.ros.segment_node', '--ros-args']
    command += ['-p', f'model:={small_model}', '-p', 'precision:=fp32']
    with open(tmp_path / 'log', 'wb') as log:
        popen = subprocess.Popen(command, stdout=log, stderr=log)
    yield popen
    popen.kill()
    popen.wait()


@pytest.fixture
def hanging(robot: Robot, node: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Return a reliable subscriber of labels and overlays that has received both, and still runs."""
    with subprocess.Popen([sys.executable, '-c', HANGING], stdout=subprocess.PIPE) as popen:
        os.set_blocking(popen.stdout.fileno(), False)
        deadline = time.monotonic() + PATIENCE
        while not popen.stdout.readline():
            assert time.monotonic() < deadline and node.poll() is None, 'the node does not answer'
            robot.ask(0.1)
        yield popen
        popen.send_signal(signal.SIGCONT)
        popen.terminate()  # not kill, which would leave its shared memory


@pytest.mark.parametrize('how', [signal.SIGSTOP, signal.SIGKILL], ids=lambda how: how.name)
def test_a_subscriber_that_hangs_or_dies_takes_nothing_from_the_others(
    how: signal.Signals, robot: Robot, node: subprocess.Popen[bytes], hanging: subprocess.Popen[bytes]
) -> None:
    before = robot.pace()
    hanging.send_signal(how)
    time.sleep(2)  # Fast DDS takes one second to see that nobody reads
    during = robot.pace()
    # Fast DDS tries to renew the port of the subscriber, which takes some time, but waits for nobody
    assert during < 5 * before, (before, during)
    node.send_signal(signal.SIGINT)
    assert node.wait(PATIENCE) == 0

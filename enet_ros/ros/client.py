"""Play images to a running segmentation node in real time and match what comes back by stamp."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.errors import EnetError
from enet_ros.images.sources import Frame
from enet_ros.ros.messages import to_message

FRAME_ID = 'camera'


@dataclass(frozen=True)
class Answer:
    """What the node made of one frame."""

    name: str
    """Of the frame."""
    latency: float
    """Seconds from just before the image was published to when its labels had arrived."""
    sent: float
    """When the image was published, in seconds of the monotonic clock."""
    labels: NDArray[np.uint8]
    """H x W class ids, 255 = void."""


class ReplayClient(Node):
    """Publishes images as a camera does and receives labels and overlays."""

    def __init__(self, image_topic: str, node: str, answered: Callable[[Answer], None],
                 overlaid: Callable[[str, NDArray[np.uint8]], None]) -> None:
        """Talk to the segmentation node with the full name `node`, such as /enet.

        `answered` is called with every answer and `overlaid` with a frame's name and its overlay (H x W x 3, RGB), both on
        the thread that receives: what takes long belongs elsewhere.
        """
        super().__init__('enet_replay')
        # reliable, so that what is lost is lost in the node, where it is counted
        reliable = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        self._node = node
        self._answered, self._overlaid = answered, overlaid
        self._publisher = self.create_publisher(Image, image_topic, reliable)
        self._labels = self.create_subscription(Image, f'{node}/labels', self._on_labels, reliable)
        self._overlay = self.create_subscription(Image, f'{node}/overlay', self._on_overlay, reliable)
        self._sent: dict[tuple[int, int], tuple[str | None, float]] = {}
        self._greeted = threading.Event()
        self._arrivals = threading.Condition()
        self._waiting = 0  # labels and overlays on their way

    def wait_for_node(self, timeout: float, check: Callable[[], None]) -> None:
        """Greet the node with small black images until one's overlay comes back: then all ways between the two are open.

        `check` is called meanwhile, and may raise.

        Raises:
            EnetError: nothing came back within `timeout` seconds.

        """
        greeting = np.zeros((8, 8, 3), np.uint8)
        deadline = time.monotonic() + timeout
        while not self._greeted.wait(0.1):
            check()
            if time.monotonic() > deadline:
                raise EnetError(f'no answer of a segmentation node {self._node} to {self._publisher.topic_name} within '
                                f'{timeout:.0f} s: start one, or check ROS_DOMAIN_ID and the image topic')
            if self._publisher.get_subscription_count():
                self._publish(None, greeting)

    def play(self, frames: Iterable[Frame], rate: float, patience: float) -> int:
        """Publish `frames` at their own times, or `rate` a second where they have none, and return how many.

        Damaged ones are logged and left out. Returns when every frame has its labels and overlay, or when nothing has come
        for `patience` seconds after the last.
        """
        count, start = 0, time.monotonic()
        for frame in frames:
            try:
                image = frame.decode()
            except EnetError as error:
                self.get_logger().error(f'left out: {error}')
                continue
            due = start + (count / rate if frame.seconds is None else frame.seconds)
            time.sleep(max(0.0, due - time.monotonic()))
            self._publish(frame.name, image)
            count += 1
        with self._arrivals:
            while self._waiting and self._arrivals.wait(patience):  # as long as some are missing and more of them come
                pass
        return count

    def _publish(self, name: str | None, image: NDArray[np.uint8]) -> None:
        """Publish a frame, or a greeting where `name` is None."""
        message = to_message(image, 'bgr8', Header(frame_id=FRAME_ID, stamp=self.get_clock().now().to_msg()))
        with self._arrivals:
            self._sent[_key(message.header.stamp)] = (name, time.monotonic())
            if name is not None:
                self._waiting += 2
        self._publisher.publish(message)

    def _on_labels(self, message: Image) -> None:
        now = time.monotonic()
        name, sent = self._sent.get(_key(message.header.stamp), (None, now))  # others may talk on the topic, too
        if name is not None:
            self._answered(Answer(name, now - sent, sent, _pixels(message, 1)))
            self._one_came()

    def _on_overlay(self, message: Image) -> None:
        if (key := _key(message.header.stamp)) not in self._sent:
            return
        name, _ = self._sent[key]
        if name is None:
            self._greeted.set()
        else:
            self._overlaid(name, _pixels(message, 3))
            self._one_came()

    def _one_came(self) -> None:
        with self._arrivals:
            self._waiting -= 1
            self._arrivals.notify()


@contextmanager
def spinning(node: Node) -> Iterator[None]:
    """Let `node` receive on a thread of its own for the time of the block."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):  # interrupted; the block ends for the same reason
            executor.spin()

    thread = threading.Thread(target=spin, name='spin')
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()


def _key(stamp: Time) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec


def _pixels(message: Image, channels: int) -> NDArray[np.uint8]:
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, channels)
    return pixels[:, :, 0] if channels == 1 else pixels



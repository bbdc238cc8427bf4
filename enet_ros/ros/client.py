"""Play images to a running segmentation node in real time and match its results to them by stamp."""

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

from enet_ros.errors import EnetError, IncompleteInputError
from enet_ros.images.sources import Frame
from enet_ros.ros.messages import to_message

FRAME_ID = 'camera'


@dataclass(frozen=True)
class Answer:
    """The labels of the node for one frame."""

    name: str
    """Name of the frame."""
    latency: float
    """Seconds from the publishing of the image to the arrival of its labels."""
    sent: float
    """When the image was published, on the monotonic clock, in seconds."""
    labels: NDArray[np.uint8]
    """H x W class ids, 255 = void."""


class ReplayClient(Node):
    """Publishes images as a camera does and receives labels and overlays."""

    def __init__(self, image_topic: str, node: str, answered: Callable[[Answer], None],
                 overlaid: Callable[[str, NDArray[np.uint8]], None]) -> None:
        """Create the publisher and the subscriptions for the segmentation node with the full name `node`, such as /enet.

        Args:
            image_topic: Topic to publish on.
            node: Full name of the node.
            answered: Called with every answer, on the receiving thread. It must return quickly.
            overlaid: Called with the name and the overlay (H x W x 3, uint8, RGB) of every frame, likewise.

        """
        super().__init__('enet_replay')
        # reliable: then images are lost only in the node, which counts them
        reliable = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        self._node = node
        self._answered, self._overlaid = answered, overlaid
        self._publisher = self.create_publisher(Image, image_topic, reliable)
        self._labels = self.create_subscription(Image, f'{node}/labels', self._on_labels, reliable)
        self._overlay = self.create_subscription(Image, f'{node}/overlay', self._on_overlay, reliable)
        self._sent: dict[tuple[int, int], tuple[str | None, float]] = {}
        self._warm_up_answered = threading.Event()
        self._arrivals = threading.Condition()
        self._waiting = 0  # labels and overlays that have not arrived yet
        self.warm_up_images = 0

    def wait_for_node(self, size: tuple[int, int], timeout: float, check: Callable[[], None]) -> None:
        """Publish black images of `size` (width, height) until the overlay of one arrives. All topics are connected then.

        These images are not frames: they are in no answer. `warm_up_images` counts them, because the node segments them too.
        `check` is called repeatedly while waiting and may raise.

        Raises:
            EnetError: nothing arrived within `timeout` seconds.

        """
        black = np.zeros((size[1], size[0], 3), np.uint8)
        deadline = time.monotonic() + timeout
        while not self._warm_up_answered.wait(0.1):
            check()
            if time.monotonic() > deadline:
                raise EnetError(f'no answer from segmentation node {self._node} to {self._publisher.topic_name} within '
                                f'{timeout:.0f} s: start the node, or check ROS_DOMAIN_ID and the image topic')
            if self._publisher.get_subscription_count():
                self._publish(None, black)
                self.warm_up_images += 1

    def play(self, frames: Iterable[Frame], rate: float, patience: float) -> int:
        """Publish `frames` at their own times, or at `rate` Hz if they have none, and return their number.

        Damaged frames, and the missing end of an incomplete source, are logged and skipped. Returns when the labels and
        overlays of all frames have arrived, or when nothing has arrived for `patience` seconds.
        """
        count, start = 0, time.monotonic()
        try:
            for frame in frames:
                try:
                    image = frame.decode()
                except EnetError as error:
                    self.get_logger().error(f'skipped: {error}')
                    continue
                due = start + (count / rate if frame.seconds is None else frame.seconds)
                time.sleep(max(0.0, due - time.monotonic()))
                self._publish(frame.name, image)
                count += 1
        except IncompleteInputError as error:
            self.get_logger().error(str(error))
        with self._arrivals:
            while self._waiting and self._arrivals.wait(patience):
                pass
        return count

    def _publish(self, name: str | None, image: NDArray[np.uint8]) -> None:
        """Publish a frame, or a warm-up image if `name` is None."""
        message = to_message(image, 'bgr8', Header(frame_id=FRAME_ID, stamp=self.get_clock().now().to_msg()))
        with self._arrivals:
            self._sent[_key(message.header.stamp)] = (name, time.monotonic())
            if name is not None:
                self._waiting += 2
        self._publisher.publish(message)

    def _on_labels(self, message: Image) -> None:
        now = time.monotonic()
        name, sent = self._sent.get(_key(message.header.stamp), (None, now))  # other nodes may publish images, too
        if name is not None:
            self._answered(Answer(name, now - sent, sent, _pixels(message, 1)))
            self._count_arrival()

    def _on_overlay(self, message: Image) -> None:
        if (key := _key(message.header.stamp)) not in self._sent:
            return
        name, _ = self._sent[key]
        if name is None:
            self._warm_up_answered.set()
        else:
            self._overlaid(name, _pixels(message, 3))
            self._count_arrival()

    def _count_arrival(self) -> None:
        with self._arrivals:
            self._waiting -= 1
            self._arrivals.notify()


@contextmanager
def spinning(node: Node) -> Iterator[None]:
    """Spin `node` on its own thread for the duration of the block."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):  # the process is interrupted, which ends the block, too
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



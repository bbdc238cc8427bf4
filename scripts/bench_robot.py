"""The robot around the node that scripts/bench_node.py measures: cameras that publish, and subscribers of the labels."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.errors import EnetError
from enet_ros.images.channels import to_rgb
from enet_ros.images.files import read_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.ros.messages import to_message

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 20
PATIENCE = 120.0
"""Seconds that the node has to start."""
Key = tuple[str, int, int]
"""An image: name of the camera, seconds and nanoseconds of the stamp."""


def read_images(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return images of `size` (width, height) as H x W x 3, uint8, BGR: of CamVid if it is found, else drawn ones."""
    for folder in (os.environ.get('ENET_DATA'), str(ROOT.parent / 'shared' / 'camvid')):
        if folder and Path(folder, 'val').is_dir():
            paths = sorted(Path(folder, 'val').glob('*.png'))[:IMAGES]
            return [cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA) for path in paths]
    return [draw_scene(number, *size)[0] for number in range(IMAGES)]


class Robot(Node):
    """Publishes images as several cameras do and receives their labels."""

    def __init__(
        self, names: Sequence[str], images: Sequence[NDArray[np.uint8]], transport: str, *, subscribe: bool
    ) -> None:
        """Create the topics of the cameras `names`; '' is the only camera of a node."""
        super().__init__('enet_bench')
        self.sent: dict[Key, float] = {}
        """When each image was published, on the monotonic clock, in seconds."""
        self.received: dict[Key, float] = {}
        """When the labels of each image arrived; likewise."""
        self._names = names
        queue = QoSProfile(depth=5)
        kind, suffix = (CompressedImage, '/compressed') if transport == 'compressed' else (Image, '')
        self._camera_publishers = {
            name: self.create_publisher(kind, f'{_prefix(name)}image{suffix}', queue) for name in names
        }
        self._label_subscriptions = [
            self.create_subscription(Image, labels_topic(name), partial(self._on_labels, name), queue)
            for name in names if subscribe
        ]
        self._messages = [_to_jpeg(image) if transport == 'compressed' else _to_raw(image) for image in images]

    def wait_for_node(self, check: Callable[[], None], is_ready: Callable[[], bool] = lambda: True) -> None:
        """Publish until the labels of every camera arrive, or until the node subscribes if this process does not.

        Args:
            check: Raises an error if the node does not run.
            is_ready: What else to wait for.

        Raises:
            EnetError: that takes longer than `PATIENCE`.

        """
        deadline = time.monotonic() + PATIENCE
        while True:
            connected = all(publisher.get_subscription_count() for publisher in self._camera_publishers.values())
            answered = not self._label_subscriptions or {name for name, _, _ in list(self.received)} == set(self._names)
            if connected and answered and is_ready():
                return
            check()
            if time.monotonic() > deadline:
                raise EnetError(f'the node does not answer within {PATIENCE:.0f} s: see its messages above')
            for name in self._names:
                self._publish(name, 0)
            time.sleep(0.2)

    def play(self, seconds: float, rate: float) -> None:
        """Publish images for `seconds` at `rate` Hz, evenly spread over the cameras."""
        start = time.monotonic()
        for number in range(round(seconds * rate)):
            for place, name in enumerate(self._names):
                due = start + (number + place / len(self._names)) / rate
                time.sleep(max(0.0, due - time.monotonic()))
                self._publish(name, number)
        time.sleep(max(0.0, start + seconds - time.monotonic()))

    def _publish(self, name: str, number: int) -> None:
        message = self._messages[number % len(self._messages)]
        message.header.stamp = stamp = self.get_clock().now().to_msg()
        self.sent[name, stamp.sec, stamp.nanosec] = time.monotonic()
        self._camera_publishers[name].publish(message)

    def _on_labels(self, name: str, message: Image) -> None:
        now, stamp = time.monotonic(), message.header.stamp
        self.received[name, stamp.sec, stamp.nanosec] = now


def labels_topic(name: str) -> str:
    """Return the topic with the labels of the camera `name`."""
    return f'/enet/{_prefix(name)}labels'


@contextmanager
def other_subscriber(topics: Sequence[str]) -> Iterator[tuple[int, Event]]:
    """Run a process that subscribes to `topics`: its id, and an event that is set when it has received from each."""
    context = multiprocessing.get_context('spawn')
    connected = context.Event()
    process = context.Process(target=_subscribe, args=(topics, connected))
    process.start()
    assert process.pid is not None
    try:
        yield process.pid, connected
    finally:
        process.terminate()
        os.kill(process.pid, signal.SIGCONT)
        process.join()


def _subscribe(topics: Sequence[str], connected: Event) -> None:
    rclpy.init()
    node = rclpy.create_node('enet_bench_subscriber')
    missing = set(topics)

    def receive(topic: str, message: Image) -> None:
        missing.discard(topic)
        if not missing:
            connected.set()

    for topic in topics:
        node.create_subscription(Image, topic, partial(receive, topic), 1)
    with suppress(ExternalShutdownException):  # the signal that ends this process
        rclpy.spin(node)


def _prefix(camera: str) -> str:
    return f'{camera}/' if camera else ''


def _to_raw(image: NDArray[np.uint8]) -> Image:
    return to_message(to_rgb(image, 'bgr'), 'rgb8', Header())


def _to_jpeg(image: NDArray[np.uint8]) -> CompressedImage:
    message = CompressedImage(format='bgr8; jpeg compressed bgr8')
    message.data.frombytes(cv2.imencode('.jpg', image)[1].data)
    return message

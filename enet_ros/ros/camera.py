"""One camera of the node: its subscription, its newest image and what is known about its images."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from enet_ros.errors import ImageMessageError
from enet_ros.images.channels import ChannelOrder
from enet_ros.images.health import ImageHealth
from enet_ros.images.messages import ImageReader
from enet_ros.network.aspect import advise_size, aspect_differs
from enet_ros.ros.diagnostics import CameraReport
from enet_ros.ros.log import LogThrottle
from enet_ros.ros.messages import nanoseconds
from enet_ros.ros.outputs import Outputs
from enet_ros.ros.parameters import LARGEST_SIDE
from enet_ros.ros.qos import naming_topic, overridable
from enet_ros.ros.settings import Settings
from enet_ros.ros.statistics import CameraStatistics, stamp_age
from enet_ros.segmenter import Segmentation, Segmenter

try:
    from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import QoSMessageLostInfo, SubscriptionEventCallbacks, UnsupportedEventTypeError


@dataclass(frozen=True)
class Arrival:
    """An image message that waits for the worker."""

    camera: Camera
    message: Image | CompressedImage
    seconds: float
    """When it arrived, on the monotonic clock."""


@dataclass(frozen=True)
class Picture:
    """An image that was read from a message."""

    arrival: Arrival
    pixels: NDArray[np.uint8]
    """H x W x 3, uint8; may be a view of the message."""
    channels: ChannelOrder

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def image_name(node: Node, camera: str, transport: str) -> str:
    """Return the name to subscribe to for the images of a camera: ROS remaps it once more, so that it must not be resolved.

    As with image_transport, remapping "image" also moves the compressed topic, which can be remapped itself.
    """
    name = f'{camera}/image' if camera else 'image'
    return f'{node.resolve_topic_name(name)}/compressed' if transport == 'compressed' else name


class Camera:
    """Keeps the newest image of a camera. The executor's thread puts it here, the worker takes it."""

    def __init__(
        self, node: Node, name: str, values: Mapping[str, Any], segmenter: Segmenter, reader: ImageReader,
        wake: Callable[[Camera], None], log: LogThrottle,
    ) -> None:
        """Create the publishers. `subscribe` starts the images.

        Args:
            node: The node that owns the topics.
            name: Name of the camera, part of its topics; empty for the only camera of a node.
            values: Parameters of the node.
            segmenter: Knows the classes and the geometry of the network.
            reader: Checks messages when they arrive, so that an unusable one never replaces a good one.
            wake: Called when there is an image to `take`. It must return quickly.
            log: Logs why an image is refused.

        """
        self.name = name
        self.enabled = True
        """Whether images are to be segmented: the service ~/enable."""
        self.statistics = CameraStatistics()
        self.outputs = Outputs(node, name, values, segmenter)
        self._node, self._values, self._segmenter, self._reader = node, values, segmenter, reader
        self._wake, self._log = wake, log
        # two publishers can send images of two sizes in turn; ROS allows only one severity for each calling line
        self._warn = LogThrottle(lambda text: node.get_logger().warning(text))
        self._health = ImageHealth(values['min_sharpness'])
        self._prefix = f'{name}/' if name else ''
        self._message_type = CompressedImage if values['image_transport'] == 'compressed' else Image
        self._image_name = image_name(node, name, values['image_transport'])
        self.topic = node.resolve_topic_name(self._image_name)
        self._qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy[values['image_reliability'].upper()])
        self._subscriptions: list[Subscription] = []
        self._subscribed_at: float | None = None
        self._newest: Arrival | None = None
        self._lock = threading.Lock()  # of the newest image
        self._size: tuple[int, int] | None = None
        self._info: CameraInfo | None = None

    def subscribe(self) -> None:
        """Subscribe to the images and to their CameraInfo, unless that is done."""
        if self._subscriptions:
            return
        with naming_topic(self.topic):
            try:
                images = self._subscribe_to_images(SubscriptionEventCallbacks(message_lost=self._on_lost))
            except UnsupportedEventTypeError:  # not every middleware has this event: without it, no loss is counted
                images = self._subscribe_to_images(SubscriptionEventCallbacks())
        self._subscriptions = [images]  # is removed again if the next one fails
        self._subscriptions.append(self._node.create_subscription(
            CameraInfo, f'{self._prefix}camera_info', self._on_info,
            QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT),  # matches every publisher
        ))
        self._subscribed_at = time.monotonic()

    def unsubscribe(self) -> None:
        """Drop the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._subscribed_at = [], None

    def follow_subscribers(self) -> None:
        """Subscribe if something subscribes to an output, else drop the subscriptions."""
        if self.outputs.have_subscribers():
            self.subscribe()
        else:
            self.unsubscribe()

    def destroy(self) -> None:
        """Remove all topics."""
        self.unsubscribe()
        self.outputs.destroy()

    def take(self) -> Arrival | None:
        """Return the newest image, unless it was taken before."""
        with self._lock:
            newest, self._newest = self._newest, None
            return newest

    def inspect(self, picture: Picture) -> None:
        """Look at an image for the diagnostics, and warn when images of a new size are distorted."""
        self._health.update(picture.pixels, nanoseconds(picture.arrival.message.header.stamp))
        if picture.size == self._size:
            return
        self._size, network = picture.size, self._segmenter.engine.spec.size
        if self._values['resize_mode'] == 'stretch' and aspect_differs(picture.size, network):
            smallest = self._segmenter.model.info.architecture.smallest_side
            better = advise_size(picture.size, network, smallest, LARGEST_SIDE)
            remedy = f'width to {better[0]} and height to {better[1]}, or ' if better else ''
            self._warn(
                f'{self.topic}: images of {picture.size[0]}x{picture.size[1]} are distorted to {network[0]}x{network[1]}: '
                f'set {remedy}resize_mode to letterbox or crop'
            )

    def publish(self, picture: Picture, segmentation: Segmentation, settings: Settings) -> None:
        """Publish the results for an image."""
        info = self._info
        if info is not None and (info.width, info.height) != picture.size:
            self._log(f'{self._prefix}camera_info is for images of {info.width}x{info.height} instead of '
                      f'{picture.size[0]}x{picture.size[1]} and is ignored: check the camera driver')
            info = None
        header = picture.arrival.message.header
        self.outputs.publish(header, picture.pixels, picture.channels, segmentation, settings, info)

    def refuse(self, reason: str) -> None:
        """Count an image that cannot be used, and log why."""
        self.statistics.count_refused(reason)
        self._log(f'image of {self.topic} refused: {reason}')

    def report(self, state: str, configuration: Mapping[str, str], error: str) -> CameraReport:
        """Return what the diagnostics need, with the `state` of the node and why its last transition failed."""
        return CameraReport(
            self.name or 'image', self.topic, f'sensor_msgs/msg/{self._message_type.__name__}', self._qos, state,
            self.enabled, self._subscribed_at, self._values['image_timeout'], self._values['max_image_age'],
            self.statistics.snapshot(), self._health.latest, configuration, error,
        )

    def _subscribe_to_images(self, events: SubscriptionEventCallbacks) -> Subscription:
        return self._node.create_subscription(
            self._message_type, self._image_name, self._on_image, self._qos, qos_overriding_options=overridable(),
            event_callbacks=events,
        )

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_lost(self, event: QoSMessageLostInfo) -> None:
        self.statistics.count_lost(event.total_count_change)

    def _on_image(self, message: Image | CompressedImage) -> None:
        arrival = Arrival(self, message, time.monotonic())
        now = self._node.get_clock().now().nanoseconds
        self.statistics.count_received(stamp_age(nanoseconds(message.header.stamp), now))
        if not self.enabled or not self.outputs.are_wanted():
            self.statistics.count_skipped()
            return
        try:
            self._reader.check(message)
        except ImageMessageError as error:
            self.refuse(str(error))
            return
        with self._lock:
            replaced, self._newest = self._newest, arrival
        if replaced is None:
            self._wake(self)
        else:
            self.statistics.count_overwritten()

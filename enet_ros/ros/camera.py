"""One camera of the node: its topics and its newest image."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.errors import ImageMessageError
from enet_ros.images.channels import ChannelOrder, to_bgr, to_rgb
from enet_ros.images.health import ImageHealth
from enet_ros.images.messages import ImageReader
from enet_ros.images.overlay import blend, colorize
from enet_ros.labels import VOID
from enet_ros.ros.camera_info import scale_camera_info
from enet_ros.ros.diagnostics import CameraReport
from enet_ros.ros.label_info import QOS as LABEL_INFO_QOS
from enet_ros.ros.label_info import LabelInfo, make_label_info
from enet_ros.ros.log import LogThrottle
from enet_ros.ros.messages import nanoseconds, to_message
from enet_ros.ros.settings import Settings
from enet_ros.ros.statistics import CameraStatistics, stamp_age
from enet_ros.segmenter import Segmentation, Segmenter

OUTPUTS = {
    'labels': Image, 'overlay': Image, 'overlay/compressed': CompressedImage, 'color': Image, 'confidence': Image,
    'camera_info': CameraInfo,
}
"""Name and type of the topics of a camera. Each is computed only while something subscribes to it."""


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


class Camera:
    """Subscribes to a camera, decides which of its images are worth segmenting, and publishes the results."""

    def __init__(
        self, node: Node, name: str, values: dict[str, Any], segmenter: Segmenter, reader: ImageReader,
        offer: Callable[[Arrival], None], log: LogThrottle,
    ) -> None:
        """Create the publishers. `subscribe` starts the images.

        Args:
            node: The node that owns the topics.
            name: Name of the camera, part of its topics; empty for the only camera of a node.
            values: Parameters of the node.
            segmenter: Knows the classes and the size of the network.
            reader: Checks the messages before they are offered.
            offer: Called with every image that is to be segmented. It must return quickly.
            log: Logs an image that is refused.

        """
        self.name = name
        self.statistics = CameraStatistics()
        self.health = ImageHealth(values['min_sharpness'])
        self.enabled = True
        self._node, self._values, self._offer, self._log = node, values, offer, log
        self._segmenter, self._palette = segmenter, segmenter.labels.palette()
        self._reader = reader
        prefix = f'~/{name}' if name else '~'
        self._publishers: dict[str, Publisher] = {
            output: node.create_publisher(kind, f'{prefix}/{output}', 1, qos_overriding_options=_overridable())
            for output, kind in OUTPUTS.items()
        }
        self._label_info_publisher = None if LabelInfo is None else node.create_publisher(
            LabelInfo, f'{prefix}/label_info', LABEL_INFO_QOS, qos_overriding_options=_overridable()
        )
        self._announced: tuple[str, ...] | None = None
        self._input = f'{name}/' if name else ''
        is_compressed = values['image_transport'] == 'compressed'
        self._message_type = CompressedImage if is_compressed else Image
        # as image_transport does: remapping "image" also moves the compressed topic
        self.topic = node.resolve_topic_name(f'{self._input}image') + ('/compressed' if is_compressed else '')
        self._qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy[values['image_reliability'].upper()])
        self._subscribed_at: float | None = None
        self._subscription: Subscription | None = None
        self._info_subscription: Subscription | None = None
        self._info: CameraInfo | None = None

    def subscribe(self) -> None:
        """Subscribe to the images and to their CameraInfo, unless that is done."""
        if self._subscription is not None:
            return
        self._subscription = self._node.create_subscription(
            self._message_type, self.topic, self._on_image, self._qos, qos_overriding_options=_overridable()
        )
        self._subscribed_at = time.monotonic()
        self._info_subscription = self._node.create_subscription(
            CameraInfo, f'{self._input}camera_info', self._on_info,
            QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT),
        )

    def unsubscribe(self) -> None:
        """Drop the subscriptions."""
        for subscription in (self._subscription, self._info_subscription):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._subscription = self._info_subscription = self._subscribed_at = None

    def destroy(self) -> None:
        """Remove all topics."""
        self.unsubscribe()
        for publisher in (*self._publishers.values(), self._label_info_publisher):
            if publisher is not None:
                self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def is_wanted(self, output: str) -> bool:
        """Return whether something subscribes to `output`, a name in `OUTPUTS`."""
        return self._publishers[output].get_subscription_count() > 0

    def has_subscribers(self) -> bool:
        """Return whether something subscribes to any output."""
        return any(map(self.is_wanted, OUTPUTS))

    def publish(self, picture: Picture, segmentation: Segmentation, settings: Settings) -> None:
        """Publish what is subscribed to, with the header of the image; labels also without subscribers unless lazy."""
        header, labels = picture.arrival.message.header, segmentation.labels
        if self.is_wanted('labels') or not self._values['lazy']:
            self._publish('labels', to_message(labels, 'mono8', header))
        if segmentation.confidence is not None and self.is_wanted('confidence'):
            self._publish('confidence', to_message(segmentation.confidence, 'mono8', header))
        if self.is_wanted('color'):
            self._publish('color', to_message(colorize(labels, self._palette), 'rgb8', header))
        raw, compressed = self.is_wanted('overlay'), self.is_wanted('overlay/compressed')
        if raw or compressed:
            overlay = self._draw(picture, labels, settings)
            if raw:
                self._publish('overlay', to_message(overlay, 'rgb8', header))
            if compressed:
                self._publish('overlay/compressed', _to_jpeg(overlay, header))
        if self._info is not None and self.is_wanted('camera_info'):
            self._publish_info(self._info, picture, settings)

    def publish_label_info(self, classes: tuple[str, ...]) -> None:
        """Publish the names of the reported `classes` (empty = all) where vision_msgs is installed and they changed."""
        if self._label_info_publisher is None or classes == self._announced:
            return
        now = self._node.get_clock().now().to_msg()
        self._label_info_publisher.publish(make_label_info(self._segmenter.labels, classes, now))
        self._announced = classes

    def report(self, state: str, configuration: Mapping[str, str], error: str) -> CameraReport:
        """Return what the diagnostics need, with the `state` of the node and why its last transition failed."""
        return CameraReport(
            self.name or 'image', self.topic, f'sensor_msgs/msg/{self._message_type.__name__}', self._qos, state, self.enabled,
            self._subscribed_at, self._values['image_timeout'], self._values['max_image_age'], self.statistics.snapshot(),
            self.health.problems, configuration, error,
        )

    def refuse(self, reason: str) -> None:
        """Count an image that cannot be used, and log why."""
        self.statistics.count_refused(reason)
        self._log(f'image of {self.topic} refused: {reason}')

    def _publish(self, output: str, message: Image | CompressedImage | CameraInfo) -> None:
        self._publishers[output].publish(message)

    def _draw(self, picture: Picture, labels: NDArray[np.uint8], settings: Settings) -> NDArray[np.uint8]:
        """Return the image with the colours of its labels, H x W x 3, uint8, RGB."""
        if settings.output_size == 'network':
            labels = self._segmenter.placement(picture.size).to_image(labels, VOID)
        return blend(to_rgb(picture.pixels, picture.channels), labels, self._palette, settings.overlay_alpha)

    def _publish_info(self, info: CameraInfo, picture: Picture, settings: Settings) -> None:
        if (info.width, info.height) != picture.size:
            self._log(f'{self._input}camera_info is for {info.width}x{info.height} images instead of '
                      f'{picture.size[0]}x{picture.size[1]}: it is not published, check the camera driver')
            return
        placement = self._segmenter.placement(picture.size) if settings.output_size == 'network' else None
        self._publish('camera_info', scale_camera_info(info, picture.arrival.message.header, placement))

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        age = stamp_age(nanoseconds(message.header.stamp), self._node.get_clock().now().nanoseconds)
        self.statistics.count_received(age)
        if not self.enabled or (self._values['lazy'] and not self.has_subscribers()):
            self.statistics.count_skipped()
            return
        try:
            self._reader.check(message)
        except ImageMessageError as error:
            self.refuse(str(error))
            return
        self._offer(Arrival(self, message, now))


def _overridable() -> QoSOverridingOptions:
    """Return options that let `qos_overrides` in a parameter file change the QoS of a topic."""
    return QoSOverridingOptions.with_default_policies()


def _to_jpeg(image: NDArray[np.uint8], header: Header) -> CompressedImage:
    """Return `image` (H x W x 3, uint8, RGB) as a JPEG message."""
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    message.data.frombytes(cv2.imencode('.jpg', to_bgr(image, 'rgb'))[1].data)
    return message

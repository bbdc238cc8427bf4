"""The topics on which the results for one camera are published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.errors import UsageError
from enet_ros.images.channels import ChannelOrder, to_bgr, to_rgb
from enet_ros.images.overlay import blend, colorize
from enet_ros.labels import VOID
from enet_ros.ros.camera_info import make_camera_info
from enet_ros.ros.label_info import QOS as LABEL_INFO_QOS
from enet_ros.ros.label_info import LabelInfo, make_label_info
from enet_ros.ros.messages import to_message
from enet_ros.ros.qos import naming_topic, overridable
from enet_ros.ros.settings import Settings
from enet_ros.segmenter import Segmentation, Segmenter

TOPICS = {
    'labels': Image, 'overlay': Image, 'overlay/compressed': CompressedImage, 'color': Image, 'confidence': Image,
    'camera_info': CameraInfo,
}
"""Name and type of the outputs. Each is made only while something subscribes to it."""


class Outputs:
    """Publishes the results for one camera. They have the header of their image, so that they can be synchronised."""

    def __init__(self, node: Node, camera: str, values: Mapping[str, Any], segmenter: Segmenter) -> None:
        """Create the publishers on `node`.

        Args:
            node: The node that owns the topics.
            camera: Name of the camera, part of the topics; empty for the only camera of a node.
            values: Parameters of the node.
            segmenter: Knows the classes and the geometry of the network.

        Raises:
            UsageError: `qos_overrides` of a topic are refused. No publisher is left then.

        """
        self._node, self._segmenter, self._palette = node, segmenter, segmenter.labels.palette()
        self._is_lazy: bool = values['lazy']
        prefix = f'~/{camera}' if camera else '~'
        self._publishers: dict[str, Publisher] = {}
        self._label_info_publisher: Publisher | None = None
        try:
            for topic, kind in TOPICS.items():
                self._publishers[topic] = self._create(kind, f'{prefix}/{topic}', QoSProfile(depth=1))
            if LabelInfo is not None:
                self._label_info_publisher = self._create(LabelInfo, f'{prefix}/label_info', LABEL_INFO_QOS)
        except UsageError:
            self.destroy()
            raise
        self._announced: tuple[str, ...] | None = None

    def _create(self, kind: type, name: str, qos: QoSProfile) -> Publisher:
        with naming_topic(self._node.resolve_topic_name(name)):
            return self._node.create_publisher(kind, name, qos, qos_overriding_options=overridable())

    def destroy(self) -> None:
        """Remove the topics."""
        for publisher in (*self._publishers.values(), self._label_info_publisher):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def is_wanted(self, topic: str) -> bool:
        """Return whether something subscribes to `topic`, a name in `TOPICS`."""
        return self._publishers[topic].get_subscription_count() > 0

    def are_wanted(self) -> bool:
        """Return whether images have to be segmented: something subscribes to an output, or the node is not lazy."""
        return not self._is_lazy or self.have_subscribers()

    def have_subscribers(self) -> bool:
        """Return whether something subscribes to any output."""
        return any(map(self.is_wanted, TOPICS))

    def announce(self, classes: tuple[str, ...]) -> None:
        """Publish names and ids of the reported `classes` (empty = all) if they changed, where vision_msgs is installed."""
        if self._label_info_publisher is None or classes == self._announced:
            return
        now = self._node.get_clock().now().to_msg()
        self._label_info_publisher.publish(make_label_info(self._segmenter.labels, classes, now))
        self._announced = classes

    def publish(
        self, header: Header, image: NDArray[np.uint8], channels: ChannelOrder, segmentation: Segmentation,
        settings: Settings, info: CameraInfo | None,
    ) -> None:
        """Publish the results for `image` (H x W x 3, uint8) with its `header`. `info` is that of the camera, if known."""
        labels = segmentation.labels
        if self.is_wanted('labels') or not self._is_lazy:
            self._publishers['labels'].publish(to_message(labels, 'mono8', header))
        if segmentation.confidence is not None and self.is_wanted('confidence'):
            self._publishers['confidence'].publish(to_message(segmentation.confidence, 'mono8', header))
        if self.is_wanted('color'):
            self._publishers['color'].publish(to_message(colorize(labels, self._palette), 'rgb8', header))
        size = (image.shape[1], image.shape[0])
        placement = self._segmenter.placement(size) if settings.output_size == 'network' else None
        raw, compressed = self.is_wanted('overlay'), self.is_wanted('overlay/compressed')
        if raw or compressed:
            # the overlay always has the size of the image
            fitted = labels if placement is None else placement.to_image(labels, VOID)
            overlay = blend(to_rgb(image, channels), fitted, self._palette, settings.overlay_alpha)
            if raw:
                self._publishers['overlay'].publish(to_message(overlay, 'rgb8', header))
            if compressed:
                self._publishers['overlay/compressed'].publish(_to_jpeg(overlay, header))
        if info is not None and self.is_wanted('camera_info'):
            self._publishers['camera_info'].publish(make_camera_info(info, header, placement))


def _to_jpeg(image: NDArray[np.uint8], header: Header) -> CompressedImage:
    """Return `image` (H x W x 3, uint8, RGB) as a JPEG message."""
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    message.data.frombytes(cv2.imencode('.jpg', to_bgr(image, 'rgb'))[1].data)
    return message

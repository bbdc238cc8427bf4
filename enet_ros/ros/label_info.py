"""The names of the class ids as vision_msgs/LabelInfo, where vision_msgs is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Header

from enet_ros.labels import LabelSet

try:
    from vision_msgs.msg import LabelInfo as LabelInfo
    from vision_msgs.msg import VisionClass
except ImportError:  # not part of ROS's core packages
    LabelInfo = None

QOS = QoSProfile(
    depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)
"""A subscriber that comes later gets the names, too."""
THRESHOLD = 0.0
"""Confidence from which a label is valid: the node publishes a label for every pixel, so it is 0."""


def make_label_info(labels: LabelSet, classes: Sequence[str], stamp: Time) -> Any:  # noqa: ANN401 - has no types
    """Return a LabelInfo with the ids and names of `classes`, or of all classes if it is empty."""
    return LabelInfo(
        header=Header(stamp=stamp),
        class_map=[
            VisionClass(class_id=number, class_name=name)
            for number, name in enumerate(labels.names) if not classes or name in classes
        ],
        threshold=THRESHOLD,
    )

"""Find out why no images arrive on a topic, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
_SUFFIX = '/compressed'
_NAMES = 3  # nodes or topics that a text lists


def explain_missing_images(node: Node, topic: str, message_type: str, qos: QoSProfile) -> str:
    """Return the cause and the remedy as one line: what `node` sees of the publishers of `topic`.

    `topic` is a full name, `message_type` is `RAW` or `COMPRESSED`, and `qos` is what the node requests.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return _explain_absence(node, topic, message_type)
    same_type = [publisher for publisher in publishers if publisher.topic_type == message_type]
    if not same_type:
        types = ', '.join(sorted({publisher.topic_type for publisher in publishers}))
        return f'{_describe(publishers)} has type {types}: remap to a topic of type {message_type}'
    reasons = [reason for publisher in same_type if (reason := _incompatibility(publisher.qos_profile, qos))]
    if len(reasons) == len(same_type):
        # no other policy that the node can request is refused
        remedy = 'set image_reliability:=best_effort'
        if node.get_parameter('image_reliability').value == 'best_effort':  # so that an override is in force
            remedy = f'set qos_overrides.{topic}.subscription.reliability to best_effort'
        return f'{_describe(same_type)} offers a QoS that does not match ({reasons[0]}): {remedy}'
    return (f'{_describe(same_type)} matches but sends nothing that arrives: check that the camera streams; images over '
            '512 KiB need the settings of config/fastdds.xml in the camera driver, too (docs/node.md, "Missing images?")')


def _explain_absence(node: Node, topic: str, message_type: str) -> str:
    other, transport = (topic + _SUFFIX, 'compressed') if message_type == RAW else (topic.removesuffix(_SUFFIX), 'raw')
    other_type = COMPRESSED if message_type == RAW else RAW
    siblings = [publisher for publisher in node.get_publishers_info_by_topic(other) if publisher.topic_type == other_type]
    if siblings:
        return f'no publisher, but {_describe(siblings)} publishes {other}: set image_transport:={transport}'
    own = f'{node.get_fully_qualified_name()}/'
    found = [name for name, types in node.get_topic_names_and_types()
             if message_type in types and not name.startswith(own) and node.count_publishers(name)]
    listed = f'; there are images on {_join(found)}' if found else ''
    return f'no publisher: start the camera driver or remap the topic{listed}'


def _incompatibility(offered: QoSProfile, requested: QoSProfile) -> str:
    """Return why two profiles do not match; empty if they do."""
    compatibility, reason = qos_check_compatible(offered, requested)
    return reason.removeprefix('ERROR: ').rstrip('; ') if compatibility == QoSCompatibility.ERROR else ''


def _describe(publishers: list[TopicEndpointInfo]) -> str:
    """Return how many publishers there are and their nodes."""
    nodes = _join(f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}' for publisher in publishers)
    return f'{len(publishers)} publisher{"s" if len(publishers) > 1 else ""} ({nodes})'


def _join(names: Iterable[str]) -> str:
    names = sorted(set(names))
    return ', '.join(names[:_NAMES]) + (f' and {len(names) - _NAMES} more' if len(names) > _NAMES else '')

"""Choose the topics of a bag to replay, and refuse those that do not hold what they are chosen for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from enet_ros.errors import EnetError, ImageMessageError
from enet_ros.images.bag_reader import LABEL_INFO_TYPE
from enet_ros.images.bags import IMAGE_TYPES, Bag
from enet_ros.images.image_header import is_jpeg
from enet_ros.labels import VOID
from enet_ros.parsing import parse_json
from enet_ros.replay.bag_writer import METADATA, class_names_topic
from enet_ros.replay.ground_truth import LOSSLESS, may_hold_ids, read_ids

_EXAMINED = 5
"""Images of a topic that are looked at: the first one can be all void."""
_FLAT = 0.8
"""Share of neighbours with the same value from which an image can hold labels: a dark picture has noise."""


def find_label_topics(bag: Bag, classes: int) -> list[str]:
    """Return the topics with class ids of a model with this number of `classes`, or with ids that the bag names."""
    topics = [name for name, topic in bag.topics.items() if topic.msgtype in IMAGE_TYPES and topic.count]
    first = bag.first(topics, _EXAMINED)
    return [name for name in topics if _has_info(bag, class_names_topic(name)) or (
        any(may_hold_ids(message) for message in first[name])
        and (_has_info(bag, _sibling(name)) or _hold_ids(first[name], classes)))]


def choose_image_topic(bag: Bag, topic: str, labels_topic: str, label_topics: list[str]) -> str:
    """Return `topic`, or if it is empty the only topic with images that is not one of labels.

    Raises:
        EnetError: the topic is missing, empty or of another type, or holds labels; or there is not exactly one.

    """
    images = bag.image_topics()
    listed = _listed(bag)
    if not images:
        raise EnetError(f'bag {bag.path} has no image topic' if bag.finished else
                        f'{bag.path} is an incomplete recording without an image that can be read')
    if topic and topic == labels_topic:
        raise EnetError(f'{topic} is both --image-topic and --labels-topic: choose two topics of {listed}')
    others = [name for name in images if name not in (*label_topics, labels_topic)]
    cameras, choices = [name for name in others if images[name].count], _listed(bag, others)
    if not topic:
        if len(cameras) != 1:
            if not cameras:
                raise EnetError(f'bag {bag.path} has no camera images: its image topics are {listed}')
            raise EnetError(f'bag {bag.path} has {len(cameras)} topics with camera images: '
                            f'choose one with --image-topic from {choices}')
        return cameras[0]
    if topic not in images:
        kind = f', but of type {bag.topics[topic].msgtype}' if topic in bag.topics else ''
        raise EnetError(f'bag {bag.path} has no image topic {topic}{kind}: choose from {choices}')
    if topic in label_topics:
        raise EnetError(f'{topic} of bag {bag.path} holds labels, not camera images: '
                        f'choose another --image-topic from {choices}')
    if not images[topic].count:
        raise EnetError(f'bag {bag.path} has no images on {topic}: choose from {choices}')
    return topic


def check_labels_topic(bag: Bag, topic: str) -> None:
    """Check that a topic can hold ground truth.

    Raises:
        EnetError: the topic is missing or of another type, or has JPEG images.

    """
    kind = bag.topics[topic].msgtype if topic in bag.topics else ''
    if kind not in IMAGE_TYPES:
        what = f'{topic} of bag {bag.path} is of type {kind}' if kind else f'bag {bag.path} has no topic {topic}'
        raise EnetError(f'{what}: choose a --labels-topic of type {" or ".join(IMAGE_TYPES)} from {_listed(bag)}')
    if any(hasattr(message, 'format') and is_jpeg(memoryview(message.data)) for message in bag.first([topic])[topic]):
        raise EnetError(f'{topic} of bag {bag.path} has JPEG images, which cannot be ground truth: {LOSSLESS}')


def read_class_names(bag: Bag, topic: str) -> dict[int, str] | None:
    """Return the names that a bag gives to the ids of a topic with labels; None if it gives none.

    They are in a LabelInfo at `<topic>/label_info` or `<parent of topic>/label_info`, or in a metadata record of an mcap.

    Raises:
        EnetError: the names cannot be read.

    """
    for name in (class_names_topic(topic), _sibling(topic)):
        if _has_info(bag, name) and bag.topics[name].count:
            info = next(iter(bag.first([name])[name]), None)
            if info is None or isinstance(info, ImageMessageError):
                raise EnetError(f'the class names on {name} of bag {bag.path} are damaged: '
                                'name the classes with "classes" in a --class-map file')
            return {int(entry.class_id): str(entry.class_name) for entry in info.class_map}
    for record in bag.metadata(METADATA):
        if record.get('labels_topic') == topic:
            return _parse_names(bag, record.get('class_names', ''))
    return None


def _parse_names(bag: Bag, text: str) -> dict[int, str]:
    try:
        names = parse_json(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EnetError(f'the class names in the metadata of bag {bag.path} are not a JSON list of names: '
                        'name the classes with "classes" in a --class-map file')
    return dict(enumerate(names))


def _hold_ids(messages: Sequence[Any], classes: int) -> bool:
    """Return whether images have nothing but ids of classes, in areas. If each has one value, they can be dark pictures."""
    has_areas = False
    for message in messages:
        try:
            ids = read_ids(message)
        except ImageMessageError:
            continue  # reported when the frames are read
        values = np.unique(ids)
        if not all(0 <= value < classes or value == VOID for value in values.tolist()):
            return False
        if len(values) > 1:
            has_areas = ids.shape[1] > 1 and bool(np.mean(ids[:, 1:] == ids[:, :-1]) > _FLAT)
            if not has_areas:
                return False
    return has_areas


def _has_info(bag: Bag, name: str) -> bool:
    return name in bag.topics and bag.topics[name].msgtype == LABEL_INFO_TYPE


def _sibling(topic: str) -> str:
    return f'{topic.rpartition("/")[0]}/label_info'


def _listed(bag: Bag, names: Collection[str] | None = None) -> str:
    """Return the image topics, or those of `names`, with type and number of messages."""
    topics = sorted((name, topic) for name, topic in bag.image_topics().items() if names is None or name in names)
    return ', '.join(f'{name} ({topic.msgtype}, {topic.count} messages)' for name, topic in topics) or 'none'

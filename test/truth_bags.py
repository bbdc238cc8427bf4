"""Write bags with ground truth for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import mcap.writer
import numpy as np
from mcap.well_known import SchemaEncoding
from recordings import HEIGHT, STORE, WIDTH, recorded_at
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from enet_ros.images.synthetic import draw_scene

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
LABEL_INFO = 'vision_msgs/msg/LabelInfo'
STORE.register({
    **get_types_from_msg('uint16 class_id\nstring class_name', 'vision_msgs/msg/VisionClass'),
    **get_types_from_msg('std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold', LABEL_INFO),
})
Entry = tuple[str, str, int, bytes]
"""Topic, type, time in nanoseconds, data."""


def header(stamp: float) -> object:
    """Return a header with this stamp in seconds."""
    sec, nanosec = divmod(round(stamp * 1e9), 10**9)
    time = STORE.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return STORE.types['std_msgs/msg/Header'](stamp=time, frame_id='camera')


def image(pixels: np.ndarray, encoding: str, stamp: float, **fields: object) -> bytes:
    """Return a serialized Image."""
    data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    values = {'height': pixels.shape[0], 'width': pixels.shape[1], 'encoding': encoding, 'is_bigendian': 0,
              'step': pixels.strides[0], 'data': data, **fields}
    return bytes(STORE.serialize_cdr(STORE.types[IMAGE](header=header(stamp), **values), IMAGE))


def compressed_image(pixels: np.ndarray, suffix: str, stamp: float) -> bytes:
    """Return a serialized CompressedImage with PNG (suffix .png) or JPEG data (.jpg)."""
    data = cv2.imencode(suffix, pixels)[1].reshape(-1)
    return bytes(STORE.serialize_cdr(STORE.types[COMPRESSED](header=header(stamp), format=suffix, data=data), COMPRESSED))


def label_info(names: dict[int, str]) -> bytes:
    """Return a serialized LabelInfo."""
    entry = STORE.types['vision_msgs/msg/VisionClass']
    classes = [entry(class_id=number, class_name=name) for number, name in names.items()]
    message = STORE.types[LABEL_INFO](header=header(0), class_map=classes, threshold=0.0)
    return bytes(STORE.serialize_cdr(message, LABEL_INFO))


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawn image, H x W x 3, BGR, and its class ids."""
    return draw_scene(number, WIDTH, HEIGHT)


def frame(
    number: int, *, stamp: float | None = None, truth_stamp: float | None = None, delay: float = 0.0,
    image_topic: str = '/image', labels_topic: str = '/labels',
) -> Iterable[Entry]:
    """Yield an image, and ground truth that is recorded `delay` seconds later."""
    stamp = number + 1.0 if stamp is None else stamp
    pixels, labels = scene(number)
    yield image_topic, IMAGE, recorded_at(number), image(pixels, 'bgr8', stamp)
    when = recorded_at(number) + round(delay * 1e9)
    yield labels_topic, IMAGE, when, image(labels, 'mono8', stamp if truth_stamp is None else truth_stamp)


def write_entries(
    path: Path, entries: Iterable[Entry], storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE, empty: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a bag. `empty` are topics without messages."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if compression is not CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections: dict[tuple[str, str], Any] = {}

        def connect(topic: str, kind: str) -> object:
            key = (topic, kind)
            if key not in connections:
                connections[key] = writer.add_connection(topic, kind, typestore=STORE)
            return connections[key]

        for topic, kind in empty:
            connect(topic, kind)
        for topic, kind, time, data in sorted(entries, key=lambda entry: entry[2]):
            writer.write(connect(topic, kind), time, data)
    return path


def write_topics(
    path: Path, entries: Iterable[Entry], *metadata: dict[str, str], connections: int = 1, indexed: bool = True,
    qos: str = '',
) -> bytes:
    """Write an mcap file in the order of `entries`, with small chunks of zstd, and return its bytes."""
    with path.open('wb') as file:
        options = {} if indexed else {'index_types': mcap.writer.IndexType.NONE, 'use_statistics': False,
                                      'use_summary_offsets': False, 'repeat_channels': False, 'repeat_schemas': False}
        writer = mcap.writer.Writer(file, chunk_size=10_000, compression=mcap.writer.CompressionType.ZSTD, **options)
        writer.start(profile='ros2')
        for record in metadata:
            writer.add_metadata('enet_ros', record)
        channels: dict[tuple[str, str, int], int] = {}
        for number, (topic, kind, time, data) in enumerate(entries):
            key = (topic, kind, number // 2 % connections)
            if key not in channels:
                schema = writer.register_schema(kind, SchemaEncoding.ROS2, STORE.generate_msgdef(kind)[0].encode())
                channels[key] = writer.register_channel(topic, 'cdr', schema, {
                    'number': str(key[2]), 'offered_qos_profiles': qos})
            writer.add_message(channels[key], log_time=time, publish_time=time, data=data)
        writer.finish()
    return path.read_bytes()

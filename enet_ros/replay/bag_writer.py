"""Write camera images, ground truth and overlays as an mcap file that ROS 2 and Foxglove read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from enet_ros.files import replacing
from enet_ros.images.bag_reader import LABEL_INFO_TYPE, TYPES
from enet_ros.images.files import encode_image
from enet_ros.labels import LabelSet

Stamp = tuple[int, int]
"""Seconds and nanoseconds."""
IMAGE_TYPE = 'sensor_msgs/msg/Image'
_COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'
_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
METADATA = 'enet_ros'
"""Name of the metadata records with class names, and of the one with the images of a dataset."""
_PROFILE = 'ros2'
# as rosbag2 writes it since format 9 (Jazzy); durations: infinite
_RELIABLE = (
    '- history: keep_last\n  depth: 10\n  reliability: reliable\n  durability: volatile\n'
    '  deadline: {sec: 9223372036, nsec: 854775807}\n  lifespan: {sec: 9223372036, nsec: 854775807}\n'
    '  liveliness: automatic\n  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}\n'
    '  avoid_ros_namespace_conventions: false\n'
)
_LATCHED = _RELIABLE.replace('volatile', 'transient_local')


class BagWriter:
    """Adds messages to an mcap file."""

    def __init__(self, writer: Writer, frame_id: str) -> None:
        """Write headers with `frame_id`. Use `writing_bag`, which opens and closes the file."""
        self._writer, self._frame_id = writer, frame_id
        self._stamp, self._time = (0, 0), 0
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}

    def set_time(self, stamp: Stamp, recorded: int | None = None) -> None:
        """Set the stamp of the next messages, and when they were recorded: nanoseconds, None = at `stamp`."""
        self._stamp = stamp
        # mcap has no times before 1970; stamps of a camera with a wrong clock may be
        self._time = max(0, nanoseconds(stamp) if recorded is None else recorded)

    def write_image(self, topic: str, pixels: NDArray[np.uint8], encoding: str = 'bgr8') -> None:
        """Write an Image of `pixels`, H x W x 3 or H x W, uint8."""
        height, width = pixels.shape[:2]
        message = TYPES.types[IMAGE_TYPE](
            header=self._header(), height=height, width=width, encoding=encoding, is_bigendian=0,
            step=pixels.size // height, data=np.ascontiguousarray(pixels).reshape(-1))
        self._write(topic, IMAGE_TYPE, message)

    def write_jpeg(self, topic: str, pixels: NDArray[np.uint8], quality: int) -> None:
        """Write a CompressedImage of `pixels`, H x W x 3, BGR, to `topic`. `quality` is from 1 to 100."""
        data = np.frombuffer(encode_image('.jpg', pixels, quality), np.uint8)
        message = TYPES.types[_COMPRESSED_TYPE](header=self._header(), format='bgr8; jpeg compressed bgr8', data=data)
        self._write(topic, _COMPRESSED_TYPE, message)

    def write_camera_info(self, topic: str, width: int, height: int) -> None:
        """Write the CameraInfo of an uncalibrated camera: the size, and zeros."""
        region = TYPES.types['sensor_msgs/msg/RegionOfInterest'](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        message = TYPES.types[_INFO_TYPE](
            header=self._header(), height=height, width=width, distortion_model='', d=np.zeros(0), k=np.zeros(9),
            r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0, roi=region)
        self._write(topic, _INFO_TYPE, message)

    def write_classes(self, labels_topic: str, labels: LabelSet) -> None:
        """Write the class names of `labels_topic`: as LabelInfo and as a metadata record.

        The metadata is for programs that do not read messages. Call it once for a topic.
        """
        entry = TYPES.types['vision_msgs/msg/VisionClass']
        classes = [entry(class_id=number, class_name=name) for number, name in enumerate(labels.names)]
        message = TYPES.types[LABEL_INFO_TYPE](header=self._header(), class_map=classes, threshold=0.0)
        self._write(class_names_topic(labels_topic), LABEL_INFO_TYPE, message, _LATCHED)
        self._writer.add_metadata(
            METADATA, {'labels_topic': labels_topic, 'class_names': json.dumps(labels.names, ensure_ascii=False)})

    def write_origin(self, dataset: str, split: str, stems: Sequence[str]) -> None:
        """Write a metadata record of the images: their dataset, their split, and their names without endings.

        Names of files and folders need not be UTF-8, as a record must be. So all is JSON in ASCII.
        """
        self._writer.add_metadata(
            METADATA, {'origin': json.dumps({'dataset': dataset, 'split': split, 'images': stems})})

    def _header(self) -> Any:  # noqa: ANN401 - its type is made at run time
        time = TYPES.types['builtin_interfaces/msg/Time'](sec=self._stamp[0], nanosec=self._stamp[1])
        return TYPES.types['std_msgs/msg/Header'](stamp=time, frame_id=self._frame_id)

    def _write(self, topic: str, msgtype: str, message: object, qos: str = _RELIABLE) -> None:
        if msgtype not in self._schemas:
            definition, _ = TYPES.generate_msgdef(msgtype, ros_version=2)
            self._schemas[msgtype] = self._writer.register_schema(msgtype, SchemaEncoding.ROS2, definition.encode())
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(
                topic, MessageEncoding.CDR, self._schemas[msgtype], {'offered_qos_profiles': qos})
        self._writer.add_message(self._channels[topic], self._time, bytes(TYPES.serialize_cdr(message, msgtype)), self._time)


def class_names_topic(labels_topic: str) -> str:
    """Return the topic with the class names of a topic with labels."""
    return f'{labels_topic}/label_info'


def nanoseconds(stamp: Stamp) -> int:
    """Return a stamp in nanoseconds."""
    return stamp[0] * 10**9 + stamp[1]


@contextmanager
def writing_bag(path: Path, frame_id: str = 'camera') -> Iterator[BagWriter]:
    """Write an mcap file, compressed with zstd, for the duration of the block. If the block fails, there is no file.

    Raises:
        EnetError: the file cannot be written.

    """
    with replacing(path) as temporary, temporary.open('wb') as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile=_PROFILE, library='enet_ros')
        yield BagWriter(writer, frame_id)
        writer.finish()  # type: ignore[no-untyped-call]

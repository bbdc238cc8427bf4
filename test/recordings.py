"""Write bags and videos for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import mcap.writer
from mcap.well_known import SchemaEncoding
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from enet_ros.images.synthetic import draw_scene

STORE = get_typestore(Stores.ROS2_JAZZY)
WIDTH, HEIGHT = 48, 32
NO_STAMP = (0, 0)


def image_message(number: int, kind: str = 'Image', stamp: tuple[int, int] | None = None) -> bytes:
    """Return drawn image `number` as a serialized message, raw or compressed, by default with the stamp `number` s."""
    types = STORE.types
    sec, nanosec = (number + 1, 500) if stamp is None else stamp
    time = types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    header = types['std_msgs/msg/Header'](stamp=time, frame_id='camera')
    image = draw_scene(number, WIDTH, HEIGHT)[0]
    if kind == 'Image':
        message = types['sensor_msgs/msg/Image'](
            header=header, height=HEIGHT, width=WIDTH, encoding='rgb8', is_bigendian=0, step=3 * WIDTH,
            data=image[..., ::-1].reshape(-1).copy())
    else:
        data = cv2.imencode('.png', image)[1].reshape(-1)
        message = types['sensor_msgs/msg/CompressedImage'](header=header, format='png', data=data)
    return bytes(STORE.serialize_cdr(message, f'sensor_msgs/msg/{kind}'))


def recorded_at(number: int) -> int:
    """Return when message `number` of a test bag was recorded, in nanoseconds: 5 Hz from 100 s on."""
    return 100_000_000_000 + number * 200_000_000


def write_bag(
    path: Path, topics: dict[str, str], frames: int, storage: StoragePlugin = StoragePlugin.MCAP,
    stamps: Sequence[tuple[int, int] | None] = (),
) -> Path:
    """Write a bag with `frames` drawn images on every topic. `topics` maps topics to Image or CompressedImage."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, kind in topics.items():
            connection = writer.add_connection(topic, f'sensor_msgs/msg/{kind}', typestore=STORE)
            for number in range(frames):
                stamp = stamps[number] if stamps else None
                writer.write(connection, recorded_at(number), image_message(number, kind, stamp))
    return path


def write_mcap(
    path: Path, frames: int, *, chunk_size: int | None = 20_000, finish: bool = True, compress: bool = True
) -> Path:
    """Write an mcap file as rosbag2 does, with a few images in a chunk or without chunks; unfinished if asked for."""
    definition, _ = STORE.generate_msgdef('sensor_msgs/msg/Image')
    with path.open('wb') as file:
        compression = mcap.writer.CompressionType.ZSTD if compress else mcap.writer.CompressionType.NONE
        writer = mcap.writer.Writer(
            file, chunk_size=chunk_size or 0, use_chunking=chunk_size is not None, compression=compression)
        writer.start(profile='ros2')
        schema = writer.register_schema('sensor_msgs/msg/Image', SchemaEncoding.ROS2, definition.encode())
        channel = writer.register_channel('/image', 'cdr', schema)
        for number in range(frames):
            time = recorded_at(number)
            writer.add_message(channel, log_time=time, publish_time=time, data=image_message(number))
        if finish:
            writer.finish()
    return path


def write_video(path: Path, frames: int) -> Path:
    """Write a video of drawn images at 20 Hz."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20, (96, 64))
    assert video.isOpened()
    for number in range(frames):
        video.write(draw_scene(number, 96, 64)[0])
    video.release()
    return path


def cut(path: Path, size: int) -> Path:
    """Keep the first `size` bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])
    return path

"""Bags of prepared datasets, read by the rosbags package, and by the mcap package with ROS 2's own deserialization."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2.metadata import parse_qos
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import EnetError
from enet_ros.images.files import write_image
from enet_ros.labels import CAMVID
from enet_ros.network.model_file import read_model
from enet_ros.replay.bag_writer import writing_bag
from enet_ros.replay.dataset_bag import START, BagLayout, open_split, seen_in_training, write_split

Make = Callable[..., Dataset]
Messages = dict[str, list[tuple[int, Any]]]
IMAGES, INFO = '/camera/image_raw', '/camera/camera_info'
TRUTH, NAMES = '/ground_truth/labels', '/ground_truth/labels/label_info'
ROS_TYPES = {f'sensor_msgs/msg/{kind.__name__}': kind for kind in (CameraInfo, CompressedImage, Image)}


def read_with_rosbags(path: Path) -> Messages:
    """Return time and message by topic. The types are those that the file defines."""
    found = defaultdict(list)
    with AnyReader([path]) as bag:
        for connection, time, data in bag.messages():
            found[connection.topic].append((time, bag.deserialize(data, connection.msgtype)))
    return found


def read_with_mcap(path: Path) -> Messages:
    """Likewise. LabelInfo, which ROS's core packages do not have, is read by the definition in the file."""
    found = defaultdict(list)
    types = get_typestore(Stores.EMPTY)
    with path.open('rb') as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            assert schema.encoding == 'ros2msg' and channel.message_encoding == 'cdr'
            if kind := ROS_TYPES.get(schema.name):
                read = deserialize_message(message.data, kind)
            else:
                types.register(get_types_from_msg(schema.data.decode(), schema.name))
                read = types.deserialize_cdr(message.data, schema.name)
            assert message.publish_time == message.log_time
            found[channel.topic].append((message.log_time, read))
    return found


READERS = pytest.mark.parametrize('read', [read_with_rosbags, read_with_mcap])


def write(path: Path, folder: Path, split: str = '', *, rate: float = 10.0, jpeg: int | None = None) -> Path:
    with writing_bag(path) as bag:
        write_split(bag, open_split(folder, split), BagLayout(IMAGES, TRUTH, rate, jpeg), lambda: None)
    return path


def pixels(message: object, channels: int = 3) -> np.ndarray:
    return np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width, channels)


def nanoseconds(message: object) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@READERS
def test_images_ground_truth_and_sizes_are_those_of_the_dataset(
    read: Callable[[Path], Messages], drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset(val=3, width=98, height=62)
    found = read(write(tmp_path / 'val.mcap', dataset.root, rate=4))
    assert {topic: len(messages) for topic, messages in found.items()} == {IMAGES: 3, INFO: 3, TRUTH: 3, NAMES: 1}
    for number, sample in enumerate(dataset.samples('val')):
        image, labels = sample.read()
        (time, message), (_, truth), (_, info) = (found[topic][number] for topic in (IMAGES, TRUTH, INFO))
        assert (message.encoding, truth.encoding) == ('bgr8', 'mono8')
        assert (pixels(message) == image).all() and (pixels(truth, 1)[..., 0] == labels).all()
        assert (message.step, truth.step) == (3 * 98, 98)
        assert (info.width, info.height) == (98, 62)
        assert time == START * 10**9 + number * 250_000_000
        assert {nanoseconds(entry) for entry in (message, truth, info)} == {time}
        assert {entry.header.frame_id for entry in (message, truth, info)} == {'camera'}
    ((_, names),) = found[NAMES]
    assert [(entry.class_id, entry.class_name) for entry in names.class_map] == list(enumerate(CAMVID.names))


@READERS
def test_jpeg_images_are_compressed_with_the_quality(
    read: Callable[[Path], Messages], drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset()
    bags = {quality: read(write(tmp_path / f'{quality}.mcap', dataset.root, jpeg=quality)) for quality in (30, 95)}
    sizes = {}
    for quality, found in bags.items():
        assert IMAGES not in found
        (_, message), _ = found[f'{IMAGES}/compressed']
        assert message.format == 'bgr8; jpeg compressed bgr8'
        decoded = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)
        assert cv2.PSNR(decoded, dataset.samples('val')[0].read()[0]) > 25
        sizes[quality] = len(message.data)
        assert (found[INFO][0][1].width, found[INFO][0][1].height) == (96, 64)
    assert sizes[30] < sizes[95]


def test_the_file_has_what_ros2_bag_play_and_programs_need(drawn_dataset: Make, tmp_path: Path) -> None:
    path = write(tmp_path / 'val.mcap', drawn_dataset().root)
    with path.open('rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        metadata, origin = reader.iter_metadata()
        summary = reader.get_summary()
    channels = {channel.topic: channel.metadata for channel in summary.channels.values()}
    assert len(summary.schemas) == 3
    for schema in summary.schemas.values():  # rosbags and others would also accept the "time" of ROS 1
        assert 'MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n' in schema.data.decode()
        assert 'MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n' in schema.data.decode()
    assert metadata.name == 'enet_ros' and metadata.metadata['labels_topic'] == TRUTH
    assert json.loads(metadata.metadata['class_names']) == list(CAMVID.names)
    assert origin.name == 'enet_ros'
    assert json.loads(origin.metadata['origin']) == {'dataset': 'drawn', 'split': 'val', 'images': ['val0', 'val1']}
    # rosbags reads the profiles as rosbag2 does
    offered = {topic: parse_qos(metadata['offered_qos_profiles'])[0] for topic, metadata in channels.items()}
    assert {topic: qos.durability.name for topic, qos in offered.items()} == {
        IMAGES: 'VOLATILE', INFO: 'VOLATILE', TRUTH: 'VOLATILE', NAMES: 'TRANSIENT_LOCAL'}
    assert {qos.reliability.name for qos in offered.values()} == {'RELIABLE'}


def test_the_same_dataset_gives_the_same_bytes(drawn_dataset: Make, tmp_path: Path) -> None:
    root = drawn_dataset().root
    assert write(tmp_path / 'a.mcap', root).read_bytes() == write(tmp_path / 'b.mcap', root).read_bytes()


def test_the_folder_of_a_split_gives_the_same_bag(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn_dataset().root
    whole = write(tmp_path / 'a.mcap', root, 'train').read_bytes()
    assert write(tmp_path / 'b.mcap', root / 'train').read_bytes() == whole
    monkeypatch.chdir(root / 'train')
    assert write(tmp_path / 'c.mcap', Path()).read_bytes() == whole


@pytest.mark.parametrize(('recipe', 'seen'), [
    ({'splits': ['train', 'val'], 'hold_out': []}, 'drawn (val)'),
    ({'splits': ['train', 'val'], 'hold_out': ['val1']}, 'drawn (val)'),
    ({'splits': ['train', 'val'], 'hold_out': ['val']}, ''),
    ({'splits': ['train']}, ''),
    ({}, ''),
], ids=str)
def test_a_bag_tells_whether_a_model_was_trained_on_its_images(
    recipe: dict[str, Any], seen: str, small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    info = dataclasses.replace(read_model(small_model).info, dataset='drawn', recipe=recipe)
    assert seen_in_training(info, write(tmp_path / 'val.mcap', drawn_dataset().root)) == seen


@pytest.mark.parametrize('origin', [
    '', '[', '7', '{}', '["drawn"]', '{"dataset": "drawn", "split": "val"}',
    '{"dataset": "drawn", "split": "val", "images": 7}',
    '{"dataset": "drawn", "split": ["val"], "images": ["val0"]}', '{"dataset": "drawn", "split": "val", "images": ["val0"]',
], ids=str)
def test_a_record_of_the_images_that_cannot_be_read_tells_nothing(
    origin: str, small_model: Path, tmp_path: Path
) -> None:
    info = dataclasses.replace(read_model(small_model).info, dataset='drawn', recipe={'splits': ['val'], 'hold_out': []})
    with writing_bag(tmp_path / 'a.mcap') as bag:
        bag._writer.add_metadata('enet_ros', {'origin': origin})
    assert seen_in_training(info, tmp_path / 'a.mcap') == ''


def test_names_that_are_not_utf8_are_recorded(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    root = drawn_dataset().root
    for kind in ('images', 'labels'):
        (root / 'val' / kind / 'val0.png').rename(root / 'val' / kind / os.fsdecode(b'caf\xe9.png'))
    path = write(tmp_path / 'val.mcap', root)
    for held_out, seen in (('val', 'drawn (val)'), (os.fsdecode(b'caf\xe9'), 'drawn (val)'), ('', '')):
        recipe = {'splits': ['val'], 'hold_out': [held_out]}
        info = dataclasses.replace(read_model(small_model).info, dataset='drawn', recipe=recipe)
        assert seen_in_training(info, path) == seen


def test_a_bag_that_is_not_here_tells_nothing(small_model: Path, tmp_path: Path) -> None:
    assert seen_in_training(read_model(small_model).info, tmp_path / 'none.mcap') == ''


def test_images_without_ground_truth_give_a_bag_without_it(tmp_path: Path) -> None:
    for name in ('b', 'a'):
        write_image(tmp_path / 'images' / f'{name}.png', np.full((8, 10, 3), ord(name), np.uint8))
    found = read_with_mcap(write(tmp_path / 'a.mcap', tmp_path))
    assert {topic: len(messages) for topic, messages in found.items()} == {IMAGES: 2, INFO: 2}
    assert [pixels(message)[0, 0, 0] for _, message in found[IMAGES]] == [ord('a'), ord('b')]


@pytest.mark.parametrize('damage', ['labels missing', 'unknown id', 'other size', 'damaged image'])
def test_a_pair_that_does_not_fit_is_named_and_leaves_no_file(damage: str, drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    sample = dataset.samples('val')[1]
    if damage == 'labels missing':
        sample.labels_path.unlink()
    elif damage == 'damaged image':
        sample.image_path.write_bytes(b'no image')
    else:
        height = 64 if damage == 'unknown id' else 8
        write_image(sample.labels_path, np.full((height, 96), len(CAMVID), np.uint8))
    with pytest.raises(EnetError, match=f'{sample.stem}\\.png'):
        write(tmp_path / 'out' / 'val.mcap', dataset.root)
    assert list((tmp_path / 'out').iterdir()) == []

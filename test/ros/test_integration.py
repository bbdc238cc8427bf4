"""The examples of docs/integration.md, as they are printed there: the programs run beside the node, over DDS."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from helpers import ROOT
from ros_nodes import PATIENCE, Process, Robot, wait_until

from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

pytestmark = pytest.mark.usefixtures('ros')

_BLOCKS = re.findall(r'^```(\w+)\n(.*?)^```', (ROOT / 'docs' / 'integration.md').read_text(), re.DOTALL | re.MULTILINE)
# keys and types that semantic_segmentation_layer declares: src/semantic_segmentation_layer.cpp, branch jazzy, commit 274c713
_LAYER = {
    'plugin': str, 'enabled': bool, 'combination_method': int, 'observation_sources': str, 'publish_debug_topics': bool,
    'use_approximate_time_sync': bool,
}
_SOURCE = {
    'segmentation_topic': str, 'confidence_topic': str, 'labels_topic': str, 'pointcloud_topic': str,
    'observation_persistence': float, 'expected_update_rate': float, 'class_types': list, 'tile_map_decay_time': float,
    'max_obstacle_distance': float, 'min_obstacle_distance': float, 'visualize_tile_map': bool, 'use_cost_selection': bool,
}
_CLASS_TYPE = {'classes': list, 'base_cost': int, 'max_cost': int, 'mark_confidence': int, 'samples_to_max_cost': int,
               'dominant_priority': bool}


def _check(values: dict[str, object], types: dict[str, type]) -> None:
    assert {key: type(value) for key, value in values.items()} == {key: types.get(key) for key in values}


def test_the_nav2_configuration_has_only_keys_of_the_layer_and_the_classes_of_the_node() -> None:
    (text,) = [block for language, block in _BLOCKS if language == 'yaml']
    layer = yaml.safe_load(text)['semantic_segmentation_layer']
    source = layer.pop(layer['observation_sources'])
    _check(layer, _LAYER)
    types = [source.pop(name) for name in source['class_types']]
    _check(source, _SOURCE)
    names = []
    for values in types:
        _check(values, _CLASS_TYPE)
        names += values['classes']
    (command,) = [block for language, block in _BLOCKS if 'classes:=' in block]
    assert names == re.search(r"classes:='(.*)'", command)[1].split(', ')
    assert len(names) == len(set(names)) and set(names) < set(CAMVID.names)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder with the Python programs of the page."""
    for language, block in _BLOCKS:
        if language == 'python':
            (tmp_path / re.match(r'# (\w+\.py)', block)[1]).write_text(block)
    return tmp_path


@contextmanager
def _robot(small_model: Path, folder: Path, program: str, **parameters: object) -> Iterator[tuple[Robot, Path]]:
    """Run a node and a program, and yield the rest of the robot and the output of the program, when all are connected."""
    output = folder / 'output'
    node = Process(folder / 'log', model=small_model, **parameters)
    robot = Robot('')
    with open(output, 'wb') as file:
        process = subprocess.Popen([sys.executable, folder / program], stdout=file, stderr=file)
    try:
        with spinning(robot):
            robot.wait_for_node()
            wait_until(lambda: robot.count_subscribers('/enet/labels') == 2, output.read_text)
            yield robot, output
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0, output.read_text()
            assert node.stop() == 0, node.log()
    finally:
        for popen in (process, node.popen):
            popen.kill()
            popen.wait()
        robot.destroy_node()


def _cloud(robot: Robot, points: np.ndarray, padding: int, stamp: int) -> PointCloud2:
    """Return `points` (H x W x 3, float32) with an unused field, as a message with the stamp of image `stamp`."""
    height, width = points.shape[:2]
    fields = [PointField(name=name, offset=4 * number, datatype=PointField.FLOAT32, count=1)
              for number, name in enumerate(('intensity', 'x', 'y', 'z'))]
    values = np.concatenate((np.ones((height, width, 1)), points), 2).astype('<f4')
    data = np.pad(values.reshape(height, -1).view(np.uint8), ((0, 0), (0, padding)))
    cloud = PointCloud2(height=height, width=width, fields=fields, point_step=16, row_step=data.shape[1])
    cloud.data.frombytes(data.tobytes())
    cloud.header.stamp.sec, cloud.header.stamp.nanosec, cloud.header.frame_id = stamp, 1_234, 'camera'
    return cloud


def _points(cloud: PointCloud2) -> np.ndarray:
    layout = np.dtype([('intensity', '<f4'), ('xyz', '<f4', 3), ('label', 'u1')])
    assert [(field.name, field.offset) for field in cloud.fields][3:] == [('z', 12), ('label', 16)]
    assert (cloud.point_step, cloud.row_step) == (17, 17 * cloud.width)
    return np.frombuffer(cloud.data, layout).reshape(cloud.height, cloud.width)


class Clouds:
    """The clouds that the programs publish, by the seconds of their stamp."""

    def __init__(self, robot: Robot, topic: str) -> None:
        self.messages: dict[int, PointCloud2] = {}
        self.publisher = robot.create_publisher(PointCloud2, topic, 10)
        robot.create_subscription(PointCloud2, 'labelled_points', self._keep, 10)
        wait_until(lambda: self.publisher.get_subscription_count() and robot.count_publishers('labelled_points'),
                   lambda: f'nothing subscribes to {topic}')

    def _keep(self, message: PointCloud2) -> None:
        self.messages[message.header.stamp.sec] = message

    def wait(self, stamp: int, output: Path) -> PointCloud2:
        wait_until(lambda: stamp in self.messages, output.read_text)
        return self.messages[stamp]


def test_the_subscriber_prints_the_share_of_road(small_model: Path, programs: Path, street: np.ndarray) -> None:
    with _robot(small_model, programs, 'road_share.py') as (robot, output):
        wait_until(lambda: robot.ask(to_message(street, 'bgr8', Header())).size and output.read_text(), output.read_text)
        labels = robot.ask(to_message(street, 'bgr8', Header()))
        share = 100 * np.mean(labels == CAMVID.names.index('Road'))
        wait_until(lambda: f'{robot.sent}.000001234: {share:.1f} % road\n' in output.read_text(), output.read_text)


def test_the_points_of_a_depth_camera_get_the_labels_of_their_pixels(
    small_model: Path, programs: Path, street: np.ndarray
) -> None:
    points = np.random.default_rng(0).normal(size=(64, 96, 3)).astype(np.float32)
    with _robot(small_model, programs, 'label_cloud.py') as (robot, output):
        clouds = Clouds(robot, '/camera/depth/points')

        def label() -> np.ndarray:
            clouds.publisher.publish(_cloud(robot, points, 0, robot.sent + 1))
            return robot.ask(to_message(street, 'bgr8', Header()))

        wait_until(lambda: label().size and clouds.messages, output.read_text)  # until all topics are connected
        before = label()
        first = _points(clouds.wait(robot.sent, output))
        after = robot.ask(to_message(street[:, ::-1], 'bgr8', Header()))
        clouds.publisher.publish(_cloud(robot, points, 8, robot.sent))
        second = _points(clouds.wait(robot.sent, output))
    assert len(np.unique(before)) > 1 and not np.array_equal(before, after)
    for labelled, labels in ((first, before), (second, after)):
        np.testing.assert_array_equal(labelled['label'], labels)
        np.testing.assert_array_equal(labelled['xyz'], points)


def test_the_points_of_a_lidar_get_the_label_of_the_pixel_they_are_seen_in(small_model: Path, programs: Path) -> None:
    rows, columns = np.mgrid[0:128:4, 0:192:4]
    depth = 1 + (rows + columns) % 7
    seen = np.stack(((columns - 95.5) / 100 * depth, (rows - 63.5) / 100 * depth, depth), 2).reshape(-1, 3)
    unseen = np.array([[0, 0, -1], [0, 0, 0], [10, 0, 1], [0, -10, 1], [np.nan] * 3])
    points = np.concatenate((seen, unseen))[None].astype(np.float32)
    info = CameraInfo(width=192, height=128, p=[100.0, 0.0, 95.5, 0.0, 0.0, 100.0, 63.5, 0.0, 0.0, 0.0, 1.0, 0.0])
    with _robot(small_model, programs, 'label_lidar.py', output_size='network') as (robot, output):
        clouds = Clouds(robot, '/lidar/points_in_camera')
        camera_info = robot.create_publisher(CameraInfo, 'camera_info', 1)
        wait_until(camera_info.get_subscription_count, lambda: 'the node does not subscribe to camera_info')
        cloud = _cloud(robot, points, 0, 0)

        def is_labelled() -> bool:  # CameraInfo and the cloud must arrive before the labels
            camera_info.publish(info)
            cloud.header.stamp.sec, cloud.header.stamp.nanosec = robot.sent + 1, 30_000_000
            clouds.publisher.publish(cloud)
            answers[robot.sent] = robot.ask(to_message(draw_scene(5, 192, 128)[0], 'bgr8', Header()))
            return bool(clouds.messages)

        answers: dict[int, np.ndarray] = {}
        wait_until(is_labelled, output.read_text)
    labels = next(iter(answers.values()))
    assert labels.shape == (64, 96) and len(np.unique(labels)) > 1
    labelled = _points(next(iter(clouds.messages.values())))['label'][0]
    expected = labels[rows // 2, columns // 2].ravel()  # the network has half the size of the image
    np.testing.assert_array_equal(labelled, [*expected, *[VOID] * len(unseen)])


def test_the_picture_of_the_topics_is_made_from_the_messages_of_a_node(small_model: Path, tmp_path: Path) -> None:
    node = Process(tmp_path / 'log', model=small_model)
    try:
        command = [sys.executable, ROOT / 'scripts' / 'topics_picture.py', '--out', tmp_path / 'picture.png']
        subprocess.run(command, check=True, timeout=PATIENCE)
        assert node.stop() == 0, node.log()
    finally:
        node.popen.kill()
        node.popen.wait()
    labels, color, _ = np.split(cv2.imread(str(tmp_path / 'picture.png'))[-240:], 3, axis=1)
    assert labels.max() < len(CAMVID)
    np.testing.assert_array_equal(color, CAMVID.palette()[labels[:, :, 0], ::-1])

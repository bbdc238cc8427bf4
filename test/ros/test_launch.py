"""segment.launch.py under the real launch system."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest
import yaml

from enet_ros.images.synthetic import draw_scene

if find_spec('launch_ros') is None:  # not imported: that changes loggers which other tests use
    pytest.skip('needs ros2 launch, which is not on PyPI: source a ROS 2 installation', allow_module_level=True)

import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message
from enet_ros.ros.parameters import PARAMETERS


@contextmanager
def _launched(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, 'wb') as file:
        process = subprocess.Popen(['ros2', 'launch', 'enet_ros', 'segment.launch.py', *arguments],
                                   stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def test_every_parameter_is_an_argument_with_its_description_and_choices() -> None:
    done = subprocess.run(['ros2', 'launch', 'enet_ros', 'segment.launch.py', '--show-args'],
                          capture_output=True, text=True, check=True)
    arguments = dict(re.findall(r"^ {4}'(\w+)':\n((?: {8}.*\n?)+)", done.stdout, re.MULTILINE))
    own = {'image_topic', 'namespace', 'params_file', 'use_sim_time', 'log_level'}
    assert set(arguments) == own | {parameter.name for parameter in PARAMETERS}
    for parameter in PARAMETERS:
        assert parameter.description in arguments[parameter.name]
        assert all(f"'{choice}'" in arguments[parameter.name] for choice in parameter.choices)
    assert 'no description given' not in done.stdout


def test_arguments_reach_the_node_and_labels_come_back(small_model: Path, tmp_path: Path) -> None:
    arguments = (f'model:={small_model}', 'image_topic:=/front/image', 'namespace:=front', 'output_size:=network',
                 'width:=64', 'height:=32', 'precision:=fp32', 'classes:=Road, Car')
    rclpy.init()
    node = rclpy.create_node('tester')
    try:
        received: list[Image] = []
        node.create_subscription(Image, '/front/enet/labels', received.append, 1)
        camera = node.create_publisher(Image, '/front/image', 1)
        with _launched(tmp_path / 'log', *arguments), spinning(node):
            deadline = time.monotonic() + 60
            while not received:
                assert time.monotonic() < deadline, (tmp_path / 'log').read_text()
                camera.publish(to_message(cv2.resize(draw_scene(1)[0], (96, 64)), 'bgr8', Header(frame_id='front')))
                time.sleep(0.2)
        assert (received[0].width, received[0].height, received[0].header.frame_id) == (64, 32, 'front')
        assert set(received[0].data) <= {3, 8, 255}
        assert 'in fp32' in (tmp_path / 'log').read_text()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def test_the_parameter_file_sets_what_no_argument_sets(small_model: Path, tmp_path: Path) -> None:
    parameters = tmp_path / 'mine.yaml'
    parameters.write_text(yaml.safe_dump({'/**/enet': {'ros__parameters': {
        'model': str(small_model), 'width': 64, 'height': 40, 'precision': 'fp32'}}}))
    with _launched(tmp_path / 'log', f'params_file:={parameters}', 'height:=48'):
        deadline = time.monotonic() + 60
        while 'segmenting' not in (log := (tmp_path / 'log').read_text()):
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
    assert 'at 64x48' in log and 'in fp32' in log


def test_a_value_that_is_not_a_choice_is_refused() -> None:
    done = subprocess.run(['ros2', 'launch', 'enet_ros', 'segment.launch.py', 'backend:=tensorflow'],
                          capture_output=True, text=True)
    assert done.returncode != 0 and 'tensorflow' in done.stdout + done.stderr

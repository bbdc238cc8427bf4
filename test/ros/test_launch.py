"""segment.launch.py under the real launch system."""

from __future__ import annotations

import os
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
from helpers import ROOT

from enet_ros.images.synthetic import draw_scene

if find_spec('launch_ros') is None:  # not imported, which would change the loggers that other tests look at
    pytest.skip('needs ros2 launch, which is not on PyPI: source a ROS 2 installation', allow_module_level=True)

import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message


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


def test_every_node_parameter_is_a_described_argument() -> None:
    shown = subprocess.run(['ros2', 'launch', 'enet_ros', 'segment.launch.py', '--show-args'],
                           capture_output=True, text=True, check=True).stdout
    parameters = yaml.safe_load((ROOT / 'config' / 'segment.yaml').read_text())['/**/enet']['ros__parameters']
    for name in (*parameters, 'image_topic', 'namespace', 'params_file', 'use_sim_time', 'log_level'):
        assert f"'{name}':" in shown, name
    assert 'no description given' not in shown


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


def test_the_parameter_file_holds_where_no_argument_is_given(small_model: Path, tmp_path: Path) -> None:
    parameters = tmp_path / 'mine.yaml'
    parameters.write_text(yaml.safe_dump({'/**/enet': {'ros__parameters': {
        'model': str(small_model), 'width': 64, 'height': 40, 'precision': 'fp32'}}}))
    with _launched(tmp_path / 'log', f'params_file:={parameters}', 'height:=48'):
        deadline = time.monotonic() + 60
        while 'segmenting' not in (log := (tmp_path / 'log').read_text()):
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
    assert 'at 64x48' in log and 'in fp32' in log


def test_a_value_outside_the_choices_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(['ros2', 'launch', 'enet_ros', 'segment.launch.py', 'backend:=tensorflow'],
                          capture_output=True, text=True)
    assert done.returncode != 0 and '"tensorflow" is not valid' in done.stdout + done.stderr

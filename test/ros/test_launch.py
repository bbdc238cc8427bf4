"""The launch files under the real launch system."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message
from enet_ros.ros.parameters import PARAMETERS

ROS2 = shutil.which('ros2') or 'ros2'  # the tests of replays put another one first into PATH
OWN_ARGUMENTS = {
    'segment': {'image_topic', 'camera_info_topic', 'node_name', 'namespace', 'params_file', 'use_sim_time', 'respawn',
                'log_level'},
}
OWN_ARGUMENTS['multi_camera'] = OWN_ARGUMENTS['segment'] | {'cameras_file'}
OWN_ARGUMENTS['replay'] = OWN_ARGUMENTS['segment'] | {'bag', 'rate', 'start_offset', 'loop'}


class Launch:
    """A `ros2 launch` process and its output."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self.process = process
        self._file = file

    @property
    def log(self) -> str:
        return self._file.read_text()

    def wait_for(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def wait_for_log(self, text: str) -> None:
        self.wait_for(lambda: text in self.log)


@contextmanager
def _launched(log: Path, file: str, *arguments: str, **environment: str) -> Iterator[Launch]:
    with open(log, 'wb') as output:
        process = subprocess.Popen([ROS2, 'launch', 'enet_ros', f'{file}.launch.py', *arguments],
                                   env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True)
    try:
        yield Launch(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)


@pytest.fixture
def tester() -> Iterator[Node]:
    rclpy.init()
    node = rclpy.create_node('tester')
    with spinning(node):
        yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def small(small_model: Path) -> tuple[str, ...]:
    """Return the arguments of a node that is quick to start."""
    return (f'model:={small_model}', 'width:=64', 'height:=32', 'precision:=fp32')


def _image(frame: str) -> Image:
    return to_message(cv2.resize(draw_scene(1)[0], (96, 64)), 'bgr8', Header(frame_id=frame))


@pytest.mark.parametrize('file', sorted(OWN_ARGUMENTS))
def test_every_parameter_is_an_argument_with_its_description_and_choices(file: str) -> None:
    done = subprocess.run(['ros2', 'launch', 'enet_ros', f'{file}.launch.py', '--show-args'],
                          capture_output=True, text=True, check=True)
    arguments = dict(re.findall(r"^ {4}'(\w+)':\n((?: {8}.*\n?)+)", done.stdout, re.MULTILINE))
    assert set(arguments) == OWN_ARGUMENTS[file] | {parameter.name for parameter in PARAMETERS}
    for parameter in PARAMETERS:
        choices = ('true', 'false') if parameter.type is bool else parameter.choices
        assert parameter.description in arguments[parameter.name]
        assert all(f"'{choice}'" in arguments[parameter.name] for choice in choices)
    assert 'no description given' not in done.stdout


@pytest.mark.parametrize('argument', ['backend:=tensorflow', 'lazy:=maybe', 'respawn:=always'])
def test_a_value_that_is_not_a_choice_is_refused(argument: str) -> None:
    done = subprocess.run(['ros2', 'launch', 'enet_ros', 'segment.launch.py', argument], capture_output=True, text=True)
    assert done.returncode != 0 and argument.partition(':=')[2] in done.stdout + done.stderr


def test_arguments_reach_the_node_and_labels_come_back(tester: Node, small: tuple[str, ...], tmp_path: Path) -> None:
    labels: list[Image] = []
    infos: list[CameraInfo] = []
    tester.create_subscription(Image, '/robot/seg/labels', labels.append, 1)
    tester.create_subscription(CameraInfo, '/robot/seg/camera_info', infos.append, 1)
    camera = tester.create_publisher(Image, '/front/image_raw', 1)
    camera_info = tester.create_publisher(CameraInfo, '/front/camera_info', 1)

    def shoot() -> bool:
        camera_info.publish(CameraInfo(width=96, height=64))
        camera.publish(_image('front'))
        return bool(labels and infos)

    with _launched(tmp_path / 'log', 'segment', *small, 'image_topic:=/front/image_raw', 'namespace:=robot',
                   'node_name:=seg', 'output_size:=network', 'classes:=Road, Car', 'overlay_alpha:=1') as launch:
        launch.wait_for(shoot)
        assert (labels[0].width, labels[0].height, labels[0].header.frame_id) == (64, 32, 'front')
        assert set(labels[0].data) <= {3, 8, 255}
        assert 'in fp32' in launch.log


def test_the_parameter_file_sets_what_no_argument_sets(small_model: Path, tmp_path: Path) -> None:
    parameters = tmp_path / 'mine.yaml'
    parameters.write_text(yaml.safe_dump({'/**/enet': {'ros__parameters': {
        'model': str(small_model), 'width': 64, 'height': 40, 'precision': 'fp32'}}}))
    with _launched(tmp_path / 'log', 'segment', f'params_file:={parameters}', 'height:=48') as launch:
        launch.wait_for_log('segmenting')
        assert 'at 64x48' in launch.log and 'in fp32' in launch.log


def test_a_parameter_file_for_another_node_is_noticed(small: tuple[str, ...], tmp_path: Path) -> None:
    parameters = tmp_path / 'mine.yaml'
    parameters.write_text('enet: {ros__parameters: {threads: 1}}')
    with _launched(tmp_path / 'log', 'segment', *small, 'namespace:=front', f'params_file:={parameters}') as launch:
        launch.wait_for_log('segmenting')
        assert f'{parameters} sets no parameter of /front/enet: it is for /enet;' in launch.log


@pytest.mark.parametrize('name', ['enet', 'seg'])
def test_the_shipped_parameter_file_fits_every_node_name(name: str, small: tuple[str, ...], tmp_path: Path) -> None:
    with _launched(tmp_path / 'log', 'segment', *small, f'node_name:={name}') as launch:
        launch.wait_for_log('segmenting')
        assert 'sets no parameter' not in launch.log


def test_without_autostart_the_node_waits(small: tuple[str, ...], tmp_path: Path) -> None:
    with _launched(tmp_path / 'log', 'segment', *small, 'autostart:=false') as launch:
        launch.wait_for_log('waiting for lifecycle transitions')
        for transition in ('configure', 'activate'):
            command = ['ros2', 'lifecycle', 'set', '/enet', transition, '--no-daemon', '--spin-time', '3']
            # on a busy machine, it may not find the node in 3 s
            launch.wait_for(lambda command=command: not subprocess.run(command).returncode)
        launch.wait_for_log('segmenting')


def test_a_killed_node_is_started_again_with_respawn(small: tuple[str, ...], tmp_path: Path) -> None:
    with _launched(tmp_path / 'log', 'segment', *small, 'respawn:=true') as launch:
        launch.wait_for_log('segmenting')
        os.kill(int(re.findall(r'process started with pid \[(\d+)\]', launch.log)[0]), signal.SIGKILL)
        launch.wait_for(lambda: launch.log.count('segmenting') == 2)


def test_each_camera_of_the_list_has_its_own_topics(tester: Node, small: tuple[str, ...], tmp_path: Path) -> None:
    cameras = tmp_path / 'cameras.yaml'
    cameras.write_text(yaml.safe_dump([{'name': 'front', 'image_topic': '/a/image_raw'},
                                       {'name': 'left', 'image_topic': 'b/image', 'camera_info_topic': '/b/info'}]))
    labels: dict[str, Image] = {}
    infos: dict[str, CameraInfo] = {}
    for name in ('front', 'left'):
        tester.create_subscription(Image, f'/robot/enet/{name}/labels', lambda m, name=name: labels.update({name: m}), 1)
        tester.create_subscription(CameraInfo, f'/robot/enet/{name}/camera_info',
                                   lambda m, name=name: infos.update({name: m}), 1)
    images = {topic: tester.create_publisher(Image, topic, 1) for topic in ('/a/image_raw', '/robot/b/image')}
    camera_infos = [tester.create_publisher(CameraInfo, topic, 1) for topic in ('/a/camera_info', '/b/info')]

    def shoot() -> bool:
        for publisher in camera_infos:
            publisher.publish(CameraInfo(width=96, height=64))
        for topic, publisher in images.items():
            publisher.publish(_image(topic))
        return len(labels) + len(infos) == 4

    with _launched(tmp_path / 'log', 'multi_camera', *small, f'cameras_file:={cameras}', 'namespace:=robot') as launch:
        launch.wait_for(shoot)
        assert launch.log.count('process started') == 1
    frames = {name: message.header.frame_id for name, message in labels.items()}
    assert frames == {'front': '/a/image_raw', 'left': '/robot/b/image'}


def test_a_bad_list_of_cameras_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / 'cameras.yaml').write_text('- {name: front}')
    done = subprocess.run(['ros2', 'launch', 'enet_ros', 'multi_camera.launch.py', f'cameras_file:={tmp_path}/cameras.yaml'],
                          capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if 'ERROR' in line]
    assert done.returncode == 1 and len(errors) == 1
    assert errors[0].endswith(f'list of cameras {tmp_path}/cameras.yaml, entry 1: image_topic is missing')


STAND_IN = '''#!{python}
"""Stands in for `ros2 bag play` of rosbag2, which is not on PyPI: publishes an image, then ends, or waits with --loop."""
import json, sys, time
import rclpy
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node('player')
parameters = node.create_client(GetParameters, '/enet/get_parameters')
assert parameters.wait_for_service(20)
answer = parameters.call_async(GetParameters.Request(names=['use_sim_time']))
rclpy.spin_until_future_complete(node, answer)
publisher = node.create_publisher(Image, '/front/image', 1)
while publisher.get_subscription_count() == 0:
    time.sleep(0.1)
publisher.publish(Image())
json.dump({{'arguments': sys.argv[1:], 'sim_time': answer.result().values[0].bool_value}}, open('{result}', 'w'))
print('playing', flush=True)
while '--loop' in sys.argv:
    time.sleep(1)
'''


@pytest.fixture
def player(tmp_path: Path) -> Path:
    """Put a stand-in for `ros2 bag play` into `bin`, and return the file to which it writes what it saw."""
    (tmp_path / 'bin').mkdir()
    script = tmp_path / 'bin' / 'ros2'
    script.write_text(STAND_IN.format(python=sys.executable, result=tmp_path / 'seen.json'))
    script.chmod(0o755)
    return tmp_path / 'seen.json'


@pytest.mark.parametrize('loop', ['false', 'true'])
def test_a_bag_is_played_when_the_node_is_active(loop: str, player: Path, small: tuple[str, ...], tmp_path: Path) -> None:
    path = f'{tmp_path}/bin:{os.environ["PATH"]}'
    with _launched(tmp_path / 'log', 'replay', *small, 'bag:=/data/drive', 'rate:=2.0', 'start_offset:=3.5', f'loop:={loop}',
                   'image_topic:=/front/image', PATH=path) as launch:
        launch.wait_for_log('playing')
        assert launch.log.index('segmenting /front/image') < launch.log.index('playing')
        seen = json.loads(player.read_text())
        assert seen['sim_time']
        assert ' '.join(seen['arguments']).startswith(
            'bag play /data/drive --clock 100 --rate 2.0 --start-offset 3.5')
        assert ('--loop' in seen['arguments']) == (loop == 'true')
        if loop == 'false':
            assert launch.process.wait(30) == 0
            assert launch.log.count('process has finished cleanly') == 2
        else:
            time.sleep(1)
            assert launch.process.poll() is None


def test_a_replay_ends_when_the_node_cannot_start(tmp_path: Path) -> None:
    with _launched(tmp_path / 'log', 'replay', 'bag:=/data/drive', 'model:=/nothing.safetensors') as launch:
        launch.process.wait(60)
        assert '/nothing.safetensors' in launch.log and 'Caught exception' not in launch.log

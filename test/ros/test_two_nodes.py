"""Two nodes beside each other in one DDS domain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import make_model
from ros_nodes import Process, Robot

from enet_ros.engines.base import EngineSpec
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import VOID
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

pytestmark = pytest.mark.usefixtures('ros', 'processes')

IMAGE = draw_scene(5, 96, 64)[0]


def image() -> Image:
    return to_message(IMAGE, 'bgr8', Header())


@pytest.fixture(scope='module')
def models(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two models that segment `IMAGE` differently."""
    return small_model, make_model(tmp_path_factory.mktemp('other') / 'other.safetensors', seed=1)


@pytest.fixture(scope='module')
def expected(models: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of `IMAGE` from each model."""
    spec = EngineSpec(precision='fp32')
    first, second = (Segmenter(read_model(model), spec).segment(IMAGE, 'bgr').labels for model in models)
    assert (first != second).any()
    return first, second


Pair = tuple[Robot, Robot]
REMAPS = {
    'namespaces': (['__ns:=/left'], ['__ns:=/right']),
    'names': (['__ns:=/both', '__node:=left', 'image:=left/image'], ['__ns:=/both', '__node:=right', 'image:=right/image']),
    'names, one camera': (['__ns:=/both', '__node:=left'], ['__ns:=/both', '__node:=right']),
}


def make_robots(how: str) -> Pair:
    if how == 'namespaces':
        return Robot('/left'), Robot('/right')
    topics = ('image', 'image') if how == 'names, one camera' else ('left/image', 'right/image')
    return Robot('/both', topics[0], node='left'), Robot('/both', topics[1], node='right')


@pytest.fixture
def pair(request: pytest.FixtureRequest, models: tuple[Path, Path], tmp_path: Path) -> Iterator[Pair]:
    """Run two nodes, and return a robot for each. Their stamps differ."""
    processes = [
        Process(tmp_path / f'log{number}', remaps=names, model=model, precision='fp32')
        for number, (model, names) in enumerate(zip(models, REMAPS[request.param]))
    ]
    robots = make_robots(request.param)
    robots[1].sent = 1_000_000
    with spinning(robots[0]), spinning(robots[1]):
        for robot in robots:
            robot.wait_for_node()
        yield robots
        for process in processes:
            assert process.stop() == 0, process.log()
    for robot in robots:
        robot.destroy_node()


@pytest.mark.parametrize('pair', ['namespaces', 'names'], indirect=True)
def test_each_node_answers_its_own_camera_only(pair: Pair, expected: tuple[np.ndarray, np.ndarray]) -> None:
    for _ in range(3):
        for robot, labels in zip(pair, expected):
            assert (robot.ask(image()) == labels).all()
    assert max(pair[0].labels) < 1_000_000 < min(pair[1].labels)


@pytest.mark.parametrize('pair', ['namespaces', 'names'], indirect=True)
def test_parameters_and_states_of_the_nodes_are_apart(pair: Pair, expected: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert first.set(output_size='network', classes='Sky').successful
    assert (second.get('output_size'), second.get('classes')) == ('input', '')
    assert set(np.unique(first.ask(image()))) <= {0, VOID}
    assert (second.ask(image()) == expected[1]).all()
    assert first.change_state('deactivate')
    assert (first.state(), second.state()) == ('inactive', 'active')
    assert (second.ask(image()) == expected[1]).all()
    assert first.change_state('cleanup') and first.change_state('configure') and first.change_state('activate')
    first.overlays.clear()
    first.wait_for_node()
    assert second.change_state('deactivate')
    assert (first.ask(image()) == np.where(expected[0] == 0, 0, VOID)).all()


@pytest.mark.parametrize('pair', ['names, one camera'], indirect=True)
def test_two_nodes_segment_the_images_of_one_camera(pair: Pair, expected: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    for _ in range(10):
        stamp = first.send(image())
        for robot, labels in zip(pair, expected):
            answer = robot.wait(robot.labels, stamp)
            assert answer.header.frame_id == f'camera_{stamp}'
            assert (np.frombuffer(answer.data, np.uint8).reshape(labels.shape) == labels).all()
    assert second.change_state('deactivate')
    assert (first.ask(image()) == expected[0]).all()

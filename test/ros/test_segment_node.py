"""The node as a robot runs it: a process of its own, spoken to over DDS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from helpers import ROOT

from enet_ros.errors import EnetError
from enet_ros.images.overlay import blend
from enet_ros.images.sources import Frame
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.segmenter import Segmenter, SegmenterConfig

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.ros.client import ReplayClient, spinning
from enet_ros.ros.messages import to_message

PATIENCE = 30.0


class Robot(Node):
    """The rest of the robot: a camera, and somebody who wants labels and overlays."""

    def __init__(self, namespace: str, compressed: bool = False) -> None:
        super().__init__('robot', namespace=namespace)
        kind, topic = (CompressedImage, 'image/compressed') if compressed else (Image, 'image')
        self.camera = self.create_publisher(kind, topic, 5)
        self.labels: dict[int, Image] = {}
        self.overlays: dict[int, Image] = {}
        self.create_subscription(Image, 'enet/labels', lambda m: self._keep(self.labels, m), 50)
        self.create_subscription(Image, 'enet/overlay', lambda m: self._keep(self.overlays, m), 50)
        self._parameters_client = self.create_client(SetParametersAtomically, 'enet/set_parameters_atomically')
        self._arrived = threading.Condition()
        self.sent = 0

    def _keep(self, box: dict[int, Image], message: Image) -> None:
        with self._arrived:
            box[message.header.stamp.sec] = message
            self._arrived.notify_all()

    def send(self, message: Image | CompressedImage) -> int:
        """Publish with a new stamp, and return it."""
        self.sent += 1
        message.header.stamp = Time(sec=self.sent, nanosec=1_234)
        message.header.frame_id = f'camera_{self.sent}'
        self.camera.publish(message)
        return self.sent

    def wait(self, box: dict[int, Image], stamp: int, seconds: float) -> Image | None:
        with self._arrived:
            self._arrived.wait_for(lambda: stamp in box, seconds)
            return box.get(stamp)

    def wait_for_node(self) -> None:
        """Send images until a labels and an overlay message came back: then all ways are open."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.camera.get_subscription_count():
                self.send(self.picture())
            if self.overlays:
                return
            time.sleep(0.1)
        pytest.fail('the node does not answer')

    def picture(self) -> Image | CompressedImage:
        image = draw_scene(1, 96, 64)[0]
        if self.camera.topic_name.endswith('compressed'):
            return CompressedImage(format='png', data=cv2.imencode('.png', image)[1].tobytes())
        return to_message(image, 'bgr8', Header())

    def ask(self, message: Image | CompressedImage) -> np.ndarray:
        """Return the labels of `message`, after checking their header and form."""
        answer = self.wait(self.labels, stamp := self.send(message), PATIENCE)
        assert answer is not None, 'no labels'
        assert answer.header.frame_id == f'camera_{stamp}' and answer.header.stamp.nanosec == 1_234
        assert answer.encoding == 'mono8' and answer.step == answer.width
        return np.frombuffer(answer.data, np.uint8).reshape(answer.height, answer.width)

    def set(self, **values: object) -> SetParametersResult:
        """Set parameters of the node, all at once."""
        assert self._parameters_client.wait_for_service(PATIENCE)
        parameters: list[ParameterMessage] = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        future = self._parameters_client.call_async(SetParametersAtomically.Request(parameters=parameters))
        deadline = time.monotonic() + PATIENCE
        while not future.done() and time.monotonic() < deadline:
            time.sleep(0.01)
        return future.result().result


class Process:
    """A running segmentation node and what it has logged."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(
        self, namespace: str, log: Path, small_model: Path, remaps: Sequence[str] = (), **parameters: object
    ) -> None:
        parameters = {'model': small_model, **parameters}
        command = [sys.executable, '-m', 'enet_ros.ros.segment_node', '--ros-args', '-r', f'__ns:={namespace}']
        for remap in remaps:
            command += ['-r', remap]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._log = log
        with open(log, 'wb') as file:
            self.popen = subprocess.Popen(command, stdout=file, stderr=file, env=dict(os.environ))
        Process.started.append(self.popen)

    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.log():
            assert time.monotonic() < deadline, f'"{text}" is not in the log:\n{self.log()}'
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.popen.send_signal(how)
        return self.popen.wait(PATIENCE)


@pytest.fixture(scope='module', autouse=True)
def ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(autouse=True)
def nothing_left_running(running: tuple[Robot, Process]) -> Iterator[None]:
    """End the nodes of a test that failed: they would answer later tests."""
    yield
    for process in Process.started:
        if process is not running[1].popen:
            process.kill()


@pytest.fixture(scope='module')
def running(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Robot, Process]]:
    """Run one node with the small model for the tests of this file that leave it as it was."""
    robot = Robot('/shared')
    process = Process('/shared', tmp_path_factory.mktemp('node') / 'log', small_model, precision='fp32')
    with spinning(robot):
        robot.wait_for_node()
        yield robot, process
        assert process.popen.poll() is None, process.log()
    assert process.stop() == 0, process.log()
    assert 'Traceback' not in process.log()
    robot.destroy_node()


@pytest.fixture(scope='module')
def segmenter(small_model: Path) -> Segmenter:
    return Segmenter(SegmenterConfig(small_model, precision='fp32'))


def _message(image: np.ndarray, encoding: str, padding: int = 0) -> Image:
    message = to_message(image, encoding, Header())
    if padding:
        rows = image.reshape(image.shape[0], -1)
        message = to_message(np.pad(rows, ((0, 0), (0, padding))), encoding, Header())
        message.width, message.encoding = image.shape[1], encoding
    return message


BGR = draw_scene(5, 96, 64)[0]
RGB = cv2.cvtColor(BGR, cv2.COLOR_BGR2RGB)
GREY = cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)
GREY_RGB = cv2.cvtColor(GREY, cv2.COLOR_GRAY2RGB)


@pytest.mark.parametrize(('message', 'rgb'), [
    (_message(RGB, 'rgb8'), RGB),
    (_message(BGR, 'bgr8'), RGB),
    (_message(GREY, 'mono8'), GREY_RGB),
    (_message(RGB, 'rgb8', padding=17), RGB),
    (_message(BGR, 'bgr8', padding=1), RGB),
    (_message(GREY, 'mono8', padding=32), GREY_RGB),
], ids=['rgb8', 'bgr8', 'mono8', 'rgb8 padded', 'bgr8 padded', 'mono8 padded'])
def test_labels_of_each_encoding_are_those_of_the_segmenter(
    message: Image, rgb: np.ndarray, running: tuple[Robot, Process], segmenter: Segmenter
) -> None:
    assert (running[0].ask(message) == segmenter.segment(rgb, 'rgb')).all()


@pytest.mark.parametrize('size', [(1, 1), (4000, 3000), (33, 47)], ids=str)
def test_labels_have_the_size_of_the_image(
    size: tuple[int, int], running: tuple[Robot, Process], segmenter: Segmenter
) -> None:
    image = cv2.resize(RGB, size)
    labels = running[0].ask(_message(image, 'rgb8'))
    assert labels.shape == (size[1], size[0])
    assert (labels == segmenter.segment(image, 'rgb')).all()


def _truncated(size: int = 1000) -> Image:
    message = _message(RGB, 'rgb8')
    del message.data[size:]
    return message


def _wrong(**fields: object) -> Image:
    message = _message(RGB, 'rgb8')
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(('message', 'error'), [
    (_truncated(), 'holds 1000 bytes, not 18432: it was cut off'),
    (_wrong(encoding='rainbow'), 'encoding "rainbow" is not supported'),
    (_wrong(width=0), 'image of 0x64 pixels'),
    (_wrong(step=3), 'step 3: a row has 288 bytes'),
    (Image(), 'image of 0x0 pixels'),
], ids=['truncated', 'unknown encoding', 'no width', 'short step', 'empty'])
def test_an_image_that_cannot_be_used_is_one_clear_error_and_the_next_one_is_segmented(
    message: Image, error: str, small_model: Path, tmp_path: Path
) -> None:
    namespace = f'/bad{abs(hash(error)) % 10**6}'
    robot, process = Robot(namespace), Process(namespace, tmp_path / 'log', small_model)
    with spinning(robot):
        robot.wait_for_node()
        stamps = []
        for _ in range(3):
            stamps.append(robot.send(message))
            time.sleep(0.3)  # else the next image might overwrite it
            process.wait_for_log(error)
            assert robot.ask(_message(RGB, 'rgb8')).shape == (64, 96)
        assert not robot.labels.keys() & set(stamps)
    assert process.stop() == 0
    # said once for the three: errors are throttled
    assert process.log().count('[ERROR]') == 1, process.log()
    assert 'Traceback' not in process.log()
    robot.destroy_node()


def test_every_new_cause_is_logged_at_once(small_model: Path, tmp_path: Path) -> None:
    robot, process = Robot('/causes'), Process('/causes', tmp_path / 'log', small_model)
    with spinning(robot):
        robot.wait_for_node()
        for message, error in ((_truncated(), 'was cut off'), (_wrong(encoding='rainbow'), 'rainbow'), (Image(), '0x0')):
            robot.send(message)
            process.wait_for_log(error)
        # a cause is the same whatever numbers its text has
        for size in range(600, 900, 50):
            robot.send(_truncated(size))
            time.sleep(0.1)
        assert robot.ask(_message(RGB, 'rgb8')).shape == (64, 96)
    assert process.stop() == 0
    assert process.log().count('[ERROR]') < 6, process.log()  # of nine; a slow machine takes longer than the interval
    robot.destroy_node()


def test_a_replay_goes_on_after_a_damaged_frame(small_model: Path, tmp_path: Path) -> None:
    def damaged() -> np.ndarray:
        raise EnetError('b is damaged')

    frames = [Frame(name, None, tmp_path, decode) for name, decode in (
        ('a', lambda: RGB), ('b', damaged), ('c', lambda: RGB))]
    process = Process('/replayed', tmp_path / 'log', small_model)
    answers: list[str] = []
    client = ReplayClient('/replayed/image', '/replayed/enet', lambda answer: answers.append(answer.name), lambda *_: None)
    with spinning(client):
        client.wait_for_node(PATIENCE, lambda: None)
        assert client.play(frames, 5.0, PATIENCE) == 2
    assert answers == ['a', 'c']
    assert process.stop() == 0
    client.destroy_node()


def test_remapping_the_image_moves_its_compressed_topic(small_model: Path, tmp_path: Path) -> None:
    process = Process('/far', tmp_path / 'log', small_model, ['image:=/camera/image_raw'], image_transport='compressed')
    process.wait_for_log('segmenting /camera/image_raw/compressed with')
    assert process.stop() == 0


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_while_the_node_starts_ends_it_quietly(how: signal.Signals, small_model: Path, tmp_path: Path) -> None:
    for delay in (0.9, 1.2):  # somewhere between rclpy.init and the first image
        process = Process('/early', tmp_path / 'log', small_model)
        time.sleep(delay)
        process.stop(how)
        assert 'Traceback' not in process.log() and 'FATAL' not in process.log(), process.log()


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_between_start_and_first_image_ends_it_quietly(how: signal.Signals, small_model: Path) -> None:
    script = f"""
import os, signal, sys, time
from enet_ros.ros import segment_node
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs have not
class Node(segment_node.SegmentNode):
    def __init__(self):
        super().__init__()
        os.kill(os.getpid(), {int(how)})
        time.sleep(0.5)
segment_node.SegmentNode = Node
sys.exit(segment_node.main())
"""
    done = subprocess.run([sys.executable, '-c', script, '--ros-args', '-p', f'model:={small_model}'],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and 'Traceback' not in done.stderr and 'FATAL' not in done.stderr, done.stderr


def test_a_second_interrupt_breaks_nothing_off(small_model: Path, tmp_path: Path) -> None:
    process = Process('/twice', tmp_path / 'log', small_model)
    process.wait_for_log('segmenting')
    for delay in (0, 0.005, 0.01, 0.02, 0.04):
        time.sleep(delay)
        process.popen.send_signal(signal.SIGINT)
    assert process.stop() == 0
    assert 'Traceback' not in process.log(), process.log()


def test_the_overlay_is_the_image_blended_with_its_labels(running: tuple[Robot, Process], segmenter: Segmenter) -> None:
    robot = running[0]
    overlay = robot.wait(robot.overlays, robot.send(_message(BGR, 'bgr8')), PATIENCE)
    assert overlay is not None and overlay.encoding == 'rgb8' and overlay.header.frame_id.startswith('camera_')
    expected = blend(RGB, segmenter.segment(BGR, 'bgr'), CAMVID.palette(), 0.5)
    assert (np.frombuffer(overlay.data, np.uint8).reshape(64, 96, 3) == expected).all()


def test_classes_alpha_and_output_size_change_while_running(running: tuple[Robot, Process], segmenter: Segmenter) -> None:
    robot = running[0]
    image = _message(cv2.resize(RGB, (192, 128)), 'rgb8')
    everything = robot.ask(image)
    kept = int(np.unique(everything)[0])
    assert robot.set(classes=CAMVID.names[kept], output_size='network').successful
    labels = robot.ask(image)
    assert labels.shape == (64, 96) and set(np.unique(labels)) == {kept, VOID}
    assert robot.set(overlay_alpha=0.0).successful
    overlay = robot.wait(robot.overlays, robot.send(_message(RGB, 'rgb8')), PATIENCE)
    assert overlay is not None and bytes(overlay.data) == RGB.tobytes()
    assert robot.set(classes='', output_size='input', overlay_alpha=0.5).successful
    assert (robot.ask(image) == everything).all()


def test_a_refused_change_says_why_and_changes_nothing(running: tuple[Robot, Process]) -> None:
    robot = running[0]
    for values, reason in (
        ({'classes': 'Road, Raod'}, '"Raod" is not one of the model'),
        ({'output_size': 'half', 'classes': 'Road'}, 'choose from input, network'),
        ({'overlay_alpha': 1.5}, 'overlay_alpha'),
        ({'backend': 'torch'}, 'read-only'),
    ):
        result = robot.set(**values)
        assert not result.successful and reason in result.reason
    assert VOID not in robot.ask(_message(RGB, 'rgb8'))


def test_compressed_images_are_segmented_and_damaged_ones_named(
    small_model: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    robot = Robot('/compressed', compressed=True)
    process = Process('/compressed', tmp_path / 'log', small_model, precision='fp32', image_transport='compressed')
    with spinning(robot):
        robot.wait_for_node()
        data = cv2.imencode('.png', BGR)[1].tobytes()
        assert (robot.ask(CompressedImage(format='png', data=data)) == segmenter.segment(BGR, 'bgr')).all()
        robot.send(CompressedImage(format='jpeg', data=data[:40]))
        process.wait_for_log('40 bytes with format "jpeg" cannot be decoded')
        assert robot.ask(CompressedImage(format='png', data=data)).shape == (64, 96)
    assert process.stop() == 0
    robot.destroy_node()


def test_images_that_come_too_fast_are_overwritten_and_the_newest_is_always_segmented(
    small_model: Path, tmp_path: Path
) -> None:
    robot = Robot('/fast')
    # a network size that takes long, and a reliable subscription, so that none is lost on the way
    process = Process('/fast', tmp_path / 'log', small_model, width=1280, height=960, image_reliability='reliable')
    with spinning(robot):
        robot.wait_for_node()
        stamps = []
        for _ in range(30):
            stamps.append(robot.send(_message(RGB, 'rgb8')))
            time.sleep(0.01)
        assert robot.wait(robot.labels, stamps[-1], PATIENCE) is not None
        assert len(robot.labels.keys() & set(stamps)) < len(stamps)
    assert process.stop(signal.SIGTERM) == 0
    counts = re.search(r'segmented (\d+) images, (\d+) more were overwritten', process.log())
    assert counts, process.log()
    segmented, overwritten = map(int, counts.groups())
    assert segmented == len(robot.labels)
    # on a busy machine DDS, too, overwrites images before the node has taken them, and tells nobody
    assert 0 < overwritten <= robot.sent - segmented
    robot.destroy_node()


@pytest.mark.parametrize(('argument', 'reason'), [
    (('-r', 'image:=/bad topic'), 'bad topic'),
    (('--params-file', '/no/such/file.yaml'), '/no/such/file.yaml'),
    (('-p', 'width:=['), 'width'),
    (('-r', '__ns:=bad-namespace'), 'namespace'),
], ids=str)
def test_an_argument_that_ros_does_not_take_is_one_line(argument: tuple[str, str], reason: str) -> None:
    command = [sys.executable, '-m', 'enet_ros.ros.segment_node', '--ros-args', *argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if '[FATAL]' in line]
    assert len(lines) == 1 and reason in lines[0], done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(('parameters', 'code', 'reason'), [
    ({'model': '/no/such/file'}, 1, 'no model file /no/such/file'),
    ({'backend': 'tensorflow'}, 1, 'backend "tensorflow" is unknown'),
    ({'precision': 'fp16', 'backend': 'openvino'}, 1, 'precision fp16 is not supported'),
    ({'classes': 'Raod'}, 1, '"Raod" is not one of the model'),
    ({'output_size': 'half'}, 1, 'output_size "half"'),
    ({'image_transport': 'theora'}, 1, 'image_transport "theora"'),
    ({'image_reliability': 'perfect'}, 1, 'image_reliability "perfect"'),
    ({'width': 100}, 2, 'width'),
    ({'height': -8}, 2, 'height'),
    ({'width': 'wide'}, 2, 'width'),
    ({'overlay_alpha': 3.0}, 2, 'overlay_alpha'),
], ids=str)
def test_a_parameter_that_cannot_be_used_ends_the_node_with_one_line(
    parameters: dict[str, object], code: int, reason: str, small_model: Path, tmp_path: Path
) -> None:
    process = Process('/wrong', tmp_path / 'log', small_model, **parameters)
    assert process.popen.wait(PATIENCE) == code, process.log()
    lines = process.log().strip().splitlines()
    assert len(lines) == 1 and reason in lines[0], process.log()


def test_the_parameter_file_is_what_the_node_declares(small_model: Path, tmp_path: Path) -> None:
    import yaml

    from enet_ros.ros.segment_node import SegmentNode

    values = yaml.safe_load((ROOT / 'config' / 'segment.yaml').read_text())['/**/enet']['ros__parameters']
    node = SegmentNode()
    try:
        own = {name: node.get_parameter(name).value for name in values}
        declared = set(node._parameters) - {'use_sim_time', 'start_type_description_service'}
    finally:
        node.stop_worker()
        node.destroy_node()
    assert own == values
    assert declared == values.keys()

"""The outputs of the node beside labels and overlay, for one camera and for several, over real DDS."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from ros_nodes import PATIENCE, Process, Robot, namespace_for, running, wait_until

from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import EngineSpec, Segmenter

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from enet_ros.ros.messages import to_message
from enet_ros.ros.statistics import STAGES

pytestmark = pytest.mark.usefixtures('ros')


class Listener:
    """The newest message of a topic, by the seconds of its stamp."""

    def __init__(self, robot: Robot, kind: type, topic: str) -> None:
        self.messages: dict[int, object] = {}
        self._robot = robot
        self.subscription = robot.create_subscription(kind, topic, self._keep, 50)

    def _keep(self, message: object) -> None:
        self.messages[message.header.stamp.sec] = message

    def wait(self, stamp: int) -> object:
        wait_until(lambda: stamp in self.messages, lambda: f'{self.subscription.topic_name}: nothing for image {stamp}')
        return self.messages[stamp]

    def close(self) -> None:
        self._robot.destroy_subscription(self.subscription)


class Counts:
    """The values of the node's diagnostics."""

    def __init__(self, robot: Robot) -> None:
        self.values: dict[str, dict[str, str]] = {}
        self._node = f'{robot.get_namespace()}/enet: '
        robot.create_subscription(DiagnosticArray, '/diagnostics', self._keep, 10)

    def _keep(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self._node):
                camera = status.name.removeprefix(self._node)
                self.values[camera] = {pair.key: pair.value for pair in status.values}

    def wait(self, holds: Callable[[dict[str, int]], bool], camera: str = 'image') -> dict[str, int]:
        """Wait until the numbers of images fulfil `holds`, and return them."""

        def numbers() -> dict[str, int]:
            names = ('received', 'segmented', 'overwritten', 'refused', 'skipped')
            values = self.values.get(camera, {})
            return {name: int(values.get(name, 0)) for name in names}

        wait_until(lambda: holds(numbers()), lambda: str(numbers()))
        return numbers()


def scene() -> np.ndarray:
    return draw_scene(3, 192, 128)[0]


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1).squeeze()


def test_each_output_has_its_content_size_and_header(small_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=small_model) as (robot, _):
        robot.wait_for_node()
        color, compressed = Listener(robot, Image, 'enet/color'), Listener(robot, CompressedImage, 'enet/overlay/compressed')
        confidence, info = Listener(robot, Image, 'enet/confidence'), Listener(robot, CameraInfo, 'enet/camera_info')
        camera_info = robot.create_publisher(CameraInfo, 'camera_info', 1)
        wait_until(camera_info.get_subscription_count, lambda: 'the node does not subscribe to camera_info')
        sent = CameraInfo(width=192, height=128)
        sent.k = [100.0, 0.0, 96.0, 0.0, 110.0, 64.0, 0.0, 0.0, 1.0]
        sent.p = [100.0, 0.0, 96.0, -5.0, 0.0, 110.0, 64.0, 0.0, 0.0, 0.0, 1.0, 0.0]

        def arrived() -> bool:
            camera_info.publish(sent)
            stamp = robot.send(to_message(scene(), 'bgr8', Header()))
            robot.wait(robot.labels, stamp)  # labels go on while the engine with confidence is made
            return all(stamp in box.messages for box in (color, compressed, confidence, info))

        wait_until(arrived, lambda: 'not all outputs arrive')
        stamp = robot.sent
        labels, header = pixels(robot.labels[stamp]), robot.labels[stamp].header
        for box in (color, compressed, confidence, info):
            assert box.messages[stamp].header == header
        assert (pixels(color.messages[stamp]) == CAMVID.palette()[labels]).all()
        spec = EngineSpec('openvino', 'fp32', confidence=True)
        expected = Segmenter(read_model(small_model), spec).segment(scene(), 'bgr')
        assert (labels == expected.labels).all() and (pixels(confidence.messages[stamp]) == expected.confidence).all()
        decoded = cv2.imdecode(np.frombuffer(compressed.messages[stamp].data, np.uint8), cv2.IMREAD_COLOR)
        overlay = pixels(robot.wait(robot.overlays, stamp))[..., ::-1]
        assert decoded.shape == overlay.shape and np.abs(decoded.astype(int) - overlay).mean() < 8
        assert info.messages[stamp].width == 192 and list(info.messages[stamp].k) == list(sent.k)

        assert robot.set(output_size='network').successful  # 96 x 64: half of the image
        scaled = info.wait(robot.send(to_message(scene(), 'bgr8', Header())))
        assert (scaled.width, scaled.height) == (96, 64)
        assert list(scaled.k) == [50.0, 0.0, 48.0, 0.0, 55.0, 32.0, 0.0, 0.0, 1.0]
        assert list(scaled.p) == [50.0, 0.0, 48.0, -2.5, 0.0, 55.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        stamp = robot.sent
        for message in (robot.wait(robot.labels, stamp), color.wait(stamp), confidence.wait(stamp)):
            assert (message.width, message.height, message.step) == (96, 64, len(message.data) // 64)
            assert message.header.stamp.sec == stamp and message.header.frame_id == f'camera_{stamp}'
        overlay = robot.wait(robot.overlays, stamp)  # has the size of the image
        assert (overlay.width, overlay.height, overlay.step) == (192, 128, 576)
        decoded = cv2.imdecode(np.frombuffer(compressed.wait(stamp).data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (128, 192, 3)


def test_a_camera_info_of_another_size_is_named_and_not_used(small_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=small_model) as (robot, process):
        robot.wait_for_node()
        info = Listener(robot, CameraInfo, 'enet/camera_info')
        camera_info = robot.create_publisher(CameraInfo, 'camera_info', 1)
        wait_until(camera_info.get_subscription_count, lambda: 'the node does not subscribe to camera_info')

        def named() -> bool:
            camera_info.publish(CameraInfo(width=640, height=480))
            robot.wait(robot.labels, robot.send(to_message(scene(), 'bgr8', Header())))
            return 'camera_info is for images of 640x480 instead of 192x128' in process.log()

        wait_until(named, process.log)
        assert not info.messages


def test_nothing_is_segmented_without_subscribers_or_while_disabled(small_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=small_model) as (robot, _):
        robot.wait_for_node()
        counts = Counts(robot)
        disabled = robot.call(SetBool, 'enet/enable', SetBool.Request(data=False))
        assert disabled.success and disabled.message == 'segmentation is disabled'
        before = counts.wait(lambda n: n['received'] > 0)
        for _ in range(5):
            robot.send(robot.picture())
        off = counts.wait(lambda n: n['skipped'] > before['skipped'])
        assert robot.call(SetBool, 'enet/enable', SetBool.Request(data=True)).success
        robot.ask(robot.picture())
        segmented = counts.wait(lambda n: n['segmented'] > off['segmented'])['segmented']
        for subscription in list(robot.subscriptions):
            if '/enet/' in subscription.topic_name:
                robot.destroy_subscription(subscription)

        def is_idle(numbers: dict[str, int]) -> bool:
            robot.send(robot.picture())
            return numbers['skipped'] > off['skipped'] + 5

        assert counts.wait(is_idle)['segmented'] <= segmented + 5  # those before the node noticed


def test_with_lazy_subscription_the_node_subscribes_only_while_it_has_subscribers(small_model: Path, tmp_path: Path) -> None:
    robot = Robot(namespace_for(tmp_path))
    own = [s for s in robot.subscriptions if '/enet/' in s.topic_name]
    with running(tmp_path, robot=robot, model=small_model, lazy_subscription=True) as (robot, _):
        robot.wait_for_node()
        for subscription in own:
            robot.destroy_subscription(subscription)
        wait_until(lambda: not robot.camera.get_subscription_count(), lambda: 'the node keeps its subscription')
        labels = Listener(robot, Image, 'enet/labels')
        wait_until(robot.camera.get_subscription_count, lambda: 'the node does not subscribe')
        wait_until(lambda: robot.send(robot.picture()) and labels.messages, lambda: 'no labels')


def test_the_counts_add_up_when_images_come_too_fast(shipped_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=shipped_model) as (robot, _):
        robot.wait_for_node()
        counts = Counts(robot)
        image = to_message(cv2.resize(scene(), (640, 360)), 'bgr8', Header())
        stop = threading.Event()

        def flood() -> None:
            while not stop.wait(0.004):
                robot.send(image)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            counts.wait(lambda n: n['overwritten'] > 50 and n['segmented'] > 10)
            median = {stage: float(counts.values['image'][f'latency {stage} p50 (ms)']) for stage in STAGES}
        finally:
            stop.set()
            thread.join()
        # an image waits for the one before it, and for no other
        assert median['total'] < 2 * (median['read'] + median['network'] + median['publish']), median
        robot.wait(robot.labels, robot.sent)  # the newest image is never dropped for good

        def settled(numbers: dict[str, int]) -> bool:
            parts = sum(numbers[name] for name in ('segmented', 'overwritten', 'refused', 'skipped'))
            return numbers['received'] == parts

        counts.wait(settled)


def test_a_thousand_parameter_changes_under_load_mix_no_image(small_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=small_model) as (robot, _):
        robot.wait_for_node()
        kept = [int(number) for number in np.unique(robot.ask(to_message(scene(), 'bgr8', Header())))]
        small, large = {kept[0], VOID}, {kept[-1], VOID}
        assert small != large
        robot.set(classes=CAMVID.names[kept[0]], output_size='network')
        start = robot.sent + 100  # after images that the first change does not reach
        stop = threading.Event()

        def play() -> None:
            while not stop.wait(0.003):
                robot.send(to_message(scene(), 'bgr8', Header()))

        thread = threading.Thread(target=play)
        thread.start()
        try:
            for number in range(1000):
                which, size = (kept[0], 'network') if number % 2 else (kept[-1], 'input')
                assert robot.set(classes=CAMVID.names[which], output_size=size).successful
        finally:
            stop.set()
            thread.join()
        images = [pixels(message) for stamp, message in list(robot.labels.items()) if stamp > start]
        found = {(image.shape, frozenset(map(int, np.unique(image))) <= (small if image.shape == (64, 96) else large))
                 for image in images}
        assert found == {((64, 96), True), ((128, 192), True)}


def test_cameras_have_topics_of_their_own_and_share_the_time(small_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, model=small_model, cameras="'front, left'") as (robot, process):
        labels = {name: Listener(robot, Image, f'enet/{name}/labels') for name in ('front', 'left')}
        cameras = {name: robot.create_publisher(Image, f'{name}/image', 5) for name in labels}

        def is_connected(name: str) -> bool:
            cameras[name].publish(to_message(scene(), 'bgr8', Header()))  # of second 0
            return 0 in labels[name].messages

        for name in cameras:
            wait_until(lambda name=name: is_connected(name), process.log)
        for number in range(1, 400):
            message = to_message(scene(), 'bgr8', Header(frame_id='front'))
            message.header.stamp.sec = number
            cameras['front'].publish(message)
            if number % 20 == 0:
                slow = to_message(draw_scene(7, 96, 64)[0], 'bgr8', Header(frame_id='left'))
                slow.header.stamp.sec = number
                cameras['left'].publish(slow)
                assert labels['left'].wait(number).header.frame_id == 'left'  # although the other never pauses
                assert (labels['left'].messages[number].width, labels['left'].messages[number].height) == (96, 64)
        last = labels['front'].wait(399)
        assert last.header.frame_id == 'front' and (last.width, last.height) == (192, 128)


@pytest.mark.parametrize(('cameras', 'reason'), [
    ("'front, front'", 'occurs twice'),
    ("'front cam'", 'cannot be part of a topic'),
    ("'1st'", 'cannot be part of a topic'),
], ids=['twice', 'space', 'digit'])
def test_a_bad_name_of_a_camera_is_one_line_and_exit_code_2(
    cameras: str, reason: str, small_model: Path, tmp_path: Path
) -> None:
    process = Process(tmp_path / 'log', model=small_model, cameras=cameras)
    assert process.popen.wait(PATIENCE) == 2
    assert process.log().count('\n') == 1 and reason in process.log()


def write_overrides(folder: Path, topic: str, entity: str, **policies: object) -> Path:
    path = folder / 'qos.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {'qos_overrides': {topic: {entity: policies}}}}}))
    return path


def test_the_qos_of_an_output_and_of_the_input_can_be_overridden(small_model: Path, tmp_path: Path) -> None:
    namespace = namespace_for(tmp_path)
    path = write_overrides(tmp_path, f'{namespace}/enet/color', 'publisher', reliability='best_effort')
    with running(tmp_path, '--ros-args', '--params-file', str(path), model=small_model) as (robot, _):
        robot.wait_for_node()
        offered = robot.get_publishers_info_by_topic(f'{namespace}/enet/color')
        assert [info.qos_profile.reliability for info in offered] == [QoSReliabilityPolicy.BEST_EFFORT]


@pytest.mark.parametrize('value', ['bogus', 7], ids=['word', 'number'])
def test_a_bad_qos_override_names_its_topic(value: object, small_model: Path, tmp_path: Path) -> None:
    path = write_overrides(tmp_path, '/enet/labels', 'publisher', reliability=value)
    process = Process(tmp_path / 'log', '--ros-args', '--params-file', str(path), model=small_model)
    assert process.popen.wait(PATIENCE) == 2
    assert 'QoS of /enet/labels refused' in process.log() and 'Traceback' not in process.log()

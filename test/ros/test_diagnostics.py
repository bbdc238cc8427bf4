"""The status of a camera, and diagnostics over real DDS by a small node that only receives images."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from enet_ros.images.health import Health
from enet_ros.ros.diagnostics import CameraReport, DiagnosticsPublisher, camera_status, describe_configuration
from enet_ros.ros.missing_images import COMPRESSED, RAW
from enet_ros.ros.statistics import STAGES, CameraStatistics, Latency, Snapshot, Totals, stamp_age

BEST_EFFORT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)

SNAPSHOT = Snapshot(
    time=100.0, totals=Totals(20, 15, 3, 1, 0, 4), fps_in=30.0, fps_out=20.0,
    latencies={stage: Latency(1.5, 2.5) for stage in STAGES}, refused=0, lost_share=0.0, age=0.02, last_image=99.9,
    last_error='image is bad', last_error_time=90.0,
)
REPORT = CameraReport(
    name='front', topic='/front/image', message_type=RAW, qos=BEST_EFFORT, state='active', enabled=True,
    expected_since=50.0, image_timeout=2.0, max_image_age=1.0, statistics=SNAPSHOT, health=Health((), 123.4),
    configuration={'backend': 'openvino'},
)
SILENT = replace(SNAPSHOT, last_image=88.0)


def changed(**values: object) -> Snapshot:
    return replace(SNAPSHOT, **values)


def test_a_healthy_camera_is_ok() -> None:
    status = camera_status('/robot/enet', REPORT)
    assert (status.level, status.name, status.hardware_id) == (DiagnosticStatus.OK, '/robot/enet: front', '/front/image')
    assert status.message == '30.0 images/s received, 20.0 segmented'
    values = {value.key: value.value for value in status.values}
    assert len(values) == len(status.values)
    assert values['expected'] == '24'
    assert [values[key] for key in ('received', 'segmented', 'overwritten', 'refused', 'skipped', 'lost in DDS')] == [
        '20', '15', '3', '1', '0', '4']
    assert (values['latency total p50 (ms)'], values['latency network p99 (ms)']) == ('1.50', '2.50')
    assert (values['since last image (s)'], values['since last error (s)'], values['last error']) == (
        '0.10', '10.00', 'image is bad')
    assert (values['backend'], values['sharpness'], values['image age (s)'], values['enabled']) == (
        'openvino', '123.4', '0.020', 'true')


def test_the_keys_do_not_depend_on_what_is_known() -> None:
    engine = SimpleNamespace(device='cpu', spec=SimpleNamespace(backend='torch', precision='fp32', width=64, height=32))
    model = SimpleNamespace(path=SimpleNamespace(name='m.safetensors'), sha256='0123456789abcdef',
                            info=SimpleNamespace(labels=['a', 'b']))
    configuration = describe_configuration(engine, model)
    assert list(configuration.values()) == ['torch', 'cpu', 'fp32', '64x32', 'm.safetensors', '0123456789ab', '2']
    empty = replace(REPORT, statistics=CameraStatistics().snapshot(), health=None, configuration=None)
    full = camera_status('/enet', replace(REPORT, configuration=configuration))
    assert [value.key for value in camera_status('/enet', empty).values] == [value.key for value in full.values]


@pytest.mark.parametrize(('report', 'message'), [
    (replace(REPORT, state='inactive', expected_since=None), 'inactive'),
    (replace(REPORT, enabled=False), 'disabled'),
    (replace(REPORT, expected_since=None), 'not subscribed'),
], ids=['inactive', 'disabled', 'nothing listens'])
def test_no_images_are_ok_while_none_are_wanted(report: CameraReport, message: str) -> None:
    status = camera_status('/enet', replace(report, statistics=replace(SILENT, refused=1)), 'cause')
    assert status.level == DiagnosticStatus.OK and status.message.startswith(message)


def test_the_first_images_have_the_time_of_the_timeout() -> None:
    waiting = replace(REPORT, statistics=changed(last_image=None), expected_since=98.5)
    assert camera_status('/enet', waiting).message == 'waiting for the first image'
    # images from before a deactivation do not count either
    again = replace(waiting, statistics=SILENT)
    assert camera_status('/enet', again).level == DiagnosticStatus.OK


@pytest.mark.parametrize(('report', 'expected'), [
    (replace(REPORT, statistics=SILENT), 'no image on /front/image for 12 s: cause'),
    (replace(REPORT, statistics=changed(last_image=None)), 'no image on /front/image for 50 s: cause'),
    (replace(REPORT, statistics=changed(refused=2)), '2 images refused: image is bad'),
    (replace(REPORT, statistics=changed(age=1.5)), 'late: images arrive 1.50 s after their stamp'),
    (replace(REPORT, statistics=changed(age=-3.0)), 'stamps are 3.00 s in the future'),
    (replace(REPORT, statistics=changed(lost_share=0.9)), 'DDS loses 90% of the images'),
    (replace(REPORT, health=Health(('black: x', 'frozen: y'), 0.0)), 'black: x; frozen: y'),
], ids=['stopped', 'never came', 'refused', 'late', 'future', 'lost', 'health'])
def test_problems_warn(report: CameraReport, expected: str) -> None:
    status = camera_status('/enet', report, 'cause')
    assert status.level == DiagnosticStatus.WARN and status.message.startswith(expected)


def test_max_image_age_of_zero_never_warns() -> None:
    report = replace(REPORT, statistics=changed(age=1e9), max_image_age=0.0)
    assert camera_status('/enet', report).level == DiagnosticStatus.OK


def test_a_failed_configuration_is_an_error() -> None:
    status = camera_status('/enet', replace(REPORT, state='unconfigured', expected_since=None, error='no model'))
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, 'no model')


class Receiver(Node):
    """Subscribes as the segmentation node does, and has its diagnostics."""

    def __init__(self, namespace: str, qos: QoSProfile, message_type: str, sim_time: bool) -> None:
        super().__init__('enet', namespace=namespace, use_global_arguments=False,
                         parameter_overrides=[Parameter('use_sim_time', value=sim_time)])
        self.declare_parameter('image_reliability', qos.reliability.name.lower())
        self.statistics = CameraStatistics()
        self._started = time.monotonic()
        self._message_type = message_type
        kind, topic = (Image, 'image') if message_type == RAW else (CompressedImage, 'image/compressed')
        self._images = self.create_subscription(kind, topic, self._receive, qos)
        DiagnosticsPublisher(self, self._reports)

    def _receive(self, message: Image) -> None:
        stamp = message.header.stamp
        self.statistics.count_received(stamp_age(stamp.sec * 10**9 + stamp.nanosec, self.get_clock().now().nanoseconds))

    def _reports(self) -> list[CameraReport]:
        return [CameraReport('image', self._images.topic_name, self._message_type, self._images.qos_profile, 'active', True,
                             self._started, 0.5, 1.0, self.statistics.snapshot())]


class World:
    """A receiver and, on another node and DDS participant, what surrounds it."""

    def __init__(self, namespace: str, qos: QoSProfile = BEST_EFFORT, message_type: str = RAW, sim_time: bool = False,
                 ) -> None:
        self.receiver = Receiver(namespace, qos, message_type, sim_time)
        self._context = Context()  # two types on one topic are only possible with two participants
        rclpy.init(context=self._context)
        self.camera = Node('camera', namespace=namespace, use_global_arguments=False, context=self._context)
        self.namespace = namespace
        self.statuses: list[DiagnosticStatus] = []
        self.log: list[str] = []
        self._executors = [SingleThreadedExecutor(), SingleThreadedExecutor(context=self._context)]
        for executor, node in zip(self._executors, (self.receiver, self.camera)):
            executor.add_node(node)
        self.camera.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.camera.create_subscription(Log, '/rosout', self._on_log, 50)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        self.statuses += [status for status in array.status if status.name == f'{self.namespace}/enet: image']

    def _on_log(self, log: Log) -> None:
        if log.name == f'{self.namespace[1:]}.enet':
            self.log.append(log.msg)

    def spin(self, until: Callable[[], object], timeout: float = 15.0, action: Callable[[], object] = lambda: None) -> None:
        """Spin until a condition holds, and call `action` ten times per second meanwhile."""
        deadline, due = time.monotonic() + timeout, 0.0
        while not until():
            now = time.monotonic()
            assert now < deadline, (self.statuses[-1:], self.log)
            if now >= due:
                action()
                due = now + 0.1
            for executor in self._executors:
                executor.spin_once(timeout_sec=0.01)

    def spin_for(self, seconds: float, action: Callable[[], object] = lambda: None) -> None:
        end = time.monotonic() + seconds
        self.spin(lambda: time.monotonic() > end, seconds + 5, action)

    def wait_for(self, text: str, action: Callable[[], object] = lambda: None) -> DiagnosticStatus:
        self.statuses.clear()
        self.spin(lambda: self.statuses and text in self.statuses[-1].message, action=action)
        return self.statuses[-1]

    def destroy(self) -> None:
        for executor in self._executors:
            executor.shutdown()
        self.receiver.destroy_node()
        self.camera.destroy_node()
        self._context.try_shutdown()


pytestmark = pytest.mark.usefixtures('ros')


@pytest.fixture
def make_world(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    worlds = []

    def make(**options: object) -> World:
        worlds.append(World('/' + re.sub(r'\W+', '_', request.node.name).strip('_'), **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.destroy()


def test_a_missing_publisher_is_named_and_logged_once_until_images_arrive(make_world: Callable[..., World]) -> None:
    world = make_world()
    topic = f'{world.namespace}/image'
    cause = 'no publisher: start the camera driver or remap the topic'
    status = world.wait_for(cause)
    assert status.level == DiagnosticStatus.WARN and status.message.startswith(f'no image on {topic} for ')
    count = len(world.statuses)
    world.spin(lambda: len(world.statuses) >= count + 3)
    assert [line for line in world.log if cause in line] == [f'no image on {topic} for 0.5 s: {cause}']

    publisher = world.camera.create_publisher(Image, 'image', 1)
    status = world.wait_for('images/s received', lambda: publisher.publish(Image()))
    assert status.level == DiagnosticStatus.OK
    world.spin(lambda: f'images arrive on {topic}' in world.log)
    world.camera.destroy_publisher(publisher)
    world.wait_for(cause)
    world.spin(lambda: sum(cause in line for line in world.log) == 2)


def test_images_on_another_topic_are_named(make_world: Callable[..., World]) -> None:
    world = make_world()
    publishers = [world.camera.create_publisher(Image, name, 1) for name in ('rgb/image_raw', 'enet/overlay')]
    assert len(publishers) == 2
    status = world.wait_for(f'there are images on {world.namespace}/rgb/image_raw')
    assert 'overlay' not in status.message


@pytest.mark.parametrize(('message_type', 'kind', 'published', 'remedy'), [
    (RAW, CompressedImage, 'image/compressed', 'image_transport:=compressed'),
    (COMPRESSED, Image, 'image', 'image_transport:=raw'),
], ids=['only compressed', 'only raw'])
def test_the_other_transport_is_recommended(make_world: Callable[..., World], message_type: str, kind: type, published: str,
                                            remedy: str) -> None:
    world = make_world(message_type=message_type)
    publisher = world.camera.create_publisher(kind, published, 1)
    status = world.wait_for(remedy)
    assert f'1 publisher ({world.namespace}/camera) publishes {publisher.topic_name}' in status.message


def test_a_wrong_type_is_named(make_world: Callable[..., World]) -> None:
    world = make_world()
    assert world.camera.create_publisher(String, 'image', 1)
    assert 'remap to a topic of type sensor_msgs/msg/Image' in world.wait_for('has type std_msgs/msg/String').message


def test_a_camera_that_offers_less_reliability_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(qos=RELIABLE)
    assert world.camera.create_publisher(Image, 'image', BEST_EFFORT)
    assert f'({world.namespace}/camera)' in world.wait_for('set image_reliability:=best_effort').message


def test_a_camera_that_sends_nothing_is_named(make_world: Callable[..., World]) -> None:
    world = make_world()
    assert [world.camera.create_publisher(Image, 'image', RELIABLE) for _ in range(2)]
    assert f'2 publishers ({world.namespace}/camera)' in world.wait_for('sends nothing that arrives').message


class Bag:
    """Publishes /clock and images 20 ms older than it, 0.1 s further with each call."""

    def __init__(self, world: World, ahead: float = -0.02) -> None:
        self._clock = world.camera.create_publisher(Clock, '/clock', 10)
        self._images = world.camera.create_publisher(Image, 'image', BEST_EFFORT)
        self._ahead = ahead
        self.time = 1000.0

    def play(self) -> None:
        self.time += 0.1
        clock, image = Clock(), Image()
        self._set(clock.clock, self.time)
        self._set(image.header.stamp, self.time + self._ahead)
        self._clock.publish(clock)
        self._images.publish(image)

    def play_image_only(self) -> None:
        """Publish an image with the time of the bag, which stands still."""
        image = Image()
        self._set(image.header.stamp, self.time + self._ahead)
        self._images.publish(image)

    @staticmethod
    def _set(stamp: object, seconds: float) -> None:
        stamp.sec, stamp.nanosec = int(seconds), round(seconds % 1 * 1e9)


def test_diagnostics_come_under_sim_time_without_clock(make_world: Callable[..., World]) -> None:
    world = make_world(sim_time=True)
    status = world.wait_for('no publisher')
    assert status.level == DiagnosticStatus.WARN
    images = world.camera.create_publisher(Image, 'image', BEST_EFFORT)
    message = Image()
    message.header.stamp.sec = 1_700_000_000
    assert world.wait_for('images/s received', lambda: images.publish(message)).level == DiagnosticStatus.OK


@pytest.mark.parametrize('jump', [-500.0, 500.0], ids=['back', 'forward'])
def test_no_false_warning_when_sim_time_jumps_or_stands_still(make_world: Callable[..., World], jump: float) -> None:
    world = make_world(sim_time=True)
    bag = Bag(world)
    world.wait_for('images/s received', bag.play)
    world.spin_for(2, bag.play)
    world.statuses.clear()
    for _ in range(2):
        bag.time += jump
        bag.play_image_only()  # arrives before the clock has jumped
        world.spin_for(1.5, bag.play)
    world.spin_for(1.5, bag.play_image_only)
    assert len(world.statuses) >= 3
    assert {status.level for status in world.statuses} == {DiagnosticStatus.OK}, world.statuses
    assert world.receiver.get_clock().now().nanoseconds == pytest.approx(bag.time * 1e9, abs=5e8)
    rates = [float(status.message.split()[0]) for status in world.statuses]
    assert all(5 < rate < 15 for rate in rates), rates


def test_late_stamps_warn_under_sim_time(make_world: Callable[..., World]) -> None:
    world = make_world(sim_time=True)
    bag = Bag(world, ahead=-3.0)
    assert world.wait_for('late: images arrive 3.00 s after their stamp', bag.play).level == DiagnosticStatus.WARN

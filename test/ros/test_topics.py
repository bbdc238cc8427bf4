"""Type and QoS of every topic, and the services, as the rest of the robot sees them. Contents: test_outputs.py."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ros_nodes import Process, Robot, wait_until

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import Image

from enet_ros.ros.client import spinning

pytestmark = pytest.mark.usefixtures('ros', 'processes')

BEST_EFFORT, RELIABLE = QoSReliabilityPolicy.BEST_EFFORT, QoSReliabilityPolicy.RELIABLE
VOLATILE, TRANSIENT_LOCAL = QoSDurabilityPolicy.VOLATILE, QoSDurabilityPolicy.TRANSIENT_LOCAL
PUBLISHED = {
    'enet/labels': ('sensor_msgs/msg/Image', RELIABLE, VOLATILE),
    'enet/overlay': ('sensor_msgs/msg/Image', RELIABLE, VOLATILE),
    'enet/overlay/compressed': ('sensor_msgs/msg/CompressedImage', RELIABLE, VOLATILE),
    'enet/color': ('sensor_msgs/msg/Image', RELIABLE, VOLATILE),
    'enet/confidence': ('sensor_msgs/msg/Image', RELIABLE, VOLATILE),
    'enet/camera_info': ('sensor_msgs/msg/CameraInfo', RELIABLE, VOLATILE),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', RELIABLE, VOLATILE),
}
if find_spec('vision_msgs'):
    PUBLISHED['enet/label_info'] = ('vision_msgs/msg/LabelInfo', RELIABLE, TRANSIENT_LOCAL)
SERVICES = {
    'enable': 'std_srvs/srv/SetBool', 'change_state': 'lifecycle_msgs/srv/ChangeState',
    'get_state': 'lifecycle_msgs/srv/GetState', 'set_parameters': 'rcl_interfaces/srv/SetParameters',
}


@pytest.fixture
def node(robot: Robot, small_model: Path, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}'], model=small_model)
    process.wait_for_log('segmenting')
    yield process
    assert process.stop() == 0


def of_node(robot: Robot, endpoints: list[TopicEndpointInfo]) -> list[tuple[str, object, object]]:
    """Return type, reliability and durability of the endpoints that belong to the node."""
    return [(endpoint.topic_type, endpoint.qos_profile.reliability, endpoint.qos_profile.durability)
            for endpoint in endpoints
            if (endpoint.node_name, endpoint.node_namespace) == ('enet', robot.get_namespace())]


def test_each_published_topic_has_its_type_and_qos(robot: Robot, node: Process) -> None:
    def published() -> dict[str, list[tuple[str, object, object]]]:
        return {topic: of_node(robot, robot.get_publishers_info_by_topic(robot.resolve_topic_name(topic)))
                for topic in PUBLISHED}

    wait_until(lambda: all(published().values()), lambda: str(published()))
    assert published() == {topic: [expected] for topic, expected in PUBLISHED.items()}
    found = robot.get_publisher_names_and_types_by_node('enet', robot.get_namespace())
    standard = {'/rosout', '/parameter_events', robot.resolve_topic_name('enet/transition_event')}
    assert {topic for topic, _ in found} - standard == {robot.resolve_topic_name(topic) for topic in PUBLISHED}


@pytest.mark.parametrize(('parameters', 'topic', 'expected'), [
    ({}, 'image', ('sensor_msgs/msg/Image', BEST_EFFORT, VOLATILE)),
    ({'image_reliability': 'reliable'}, 'image', ('sensor_msgs/msg/Image', RELIABLE, VOLATILE)),
    ({'image_transport': 'compressed'}, 'image/compressed', ('sensor_msgs/msg/CompressedImage', BEST_EFFORT, VOLATILE)),
], ids=['default', 'reliable', 'compressed'])
def test_each_input_has_its_type_and_qos(
    parameters: dict[str, str], topic: str, expected: tuple[str, object, object], robot: Robot, small_model: Path,
    tmp_path: Path
) -> None:
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}'], model=small_model, **parameters)
    inputs = {topic: [expected], 'camera_info': [('sensor_msgs/msg/CameraInfo', BEST_EFFORT, VOLATILE)]}

    def subscribed() -> dict[str, list[tuple[str, object, object]]]:
        return {topic: of_node(robot, robot.get_subscriptions_info_by_topic(robot.resolve_topic_name(topic)))
                for topic in inputs}

    wait_until(lambda: all(subscribed().values()), process.log)
    assert subscribed() == inputs
    assert process.stop() == 0


def test_the_node_has_its_services(robot: Robot, node: Process) -> None:
    wait_until(lambda: ('enet', robot.get_namespace()) in robot.get_node_names_and_namespaces(), node.log)

    def services() -> dict[str, list[str]]:
        return dict(robot.get_service_names_and_types_by_node('enet', robot.get_namespace()))

    expected = {robot.resolve_service_name(f'enet/{name}'): [kind] for name, kind in SERVICES.items()}
    wait_until(lambda: expected.items() <= services().items(), lambda: str(services()))


def test_outputs_can_be_remapped(robot: Robot, small_model: Path, tmp_path: Path) -> None:
    renamed = Robot(robot.get_namespace(), 'front/image_raw', node='semantic')
    process = Process(tmp_path / 'log', remaps=[
        f'__ns:={robot.get_namespace()}', 'image:=front/image_raw', '~/labels:=semantic/labels',
        '~/overlay:=semantic/overlay'], model=small_model)
    with spinning(renamed):
        renamed.wait_for_node()
        assert renamed.ask(renamed.picture()).shape == (64, 96)
        assert not robot.get_publishers_info_by_topic(robot.resolve_topic_name('enet/labels'))
    assert process.stop() == 0
    renamed.destroy_node()


def statuses(robot: Robot) -> list[DiagnosticStatus]:
    """Return a list to which the statuses of the node are added."""
    found: list[DiagnosticStatus] = []

    def keep(array: DiagnosticArray) -> None:
        found.extend(status for status in array.status if status.name.startswith(f'{robot.get_namespace()}/enet: '))

    robot.create_subscription(DiagnosticArray, '/diagnostics', keep, 10)
    return found


@pytest.mark.parametrize(('transport', 'rules', 'topic'), [
    ('compressed', ['image/compressed:=jpeg'], 'jpeg'),
    ('compressed', ['image:=a', 'a:=b'], 'a/compressed'),
    ('compressed', ['image:=a', 'a/compressed:=jpeg'], 'jpeg'),
    ('raw', ['image:=a', 'a:=b'], 'a'),
], ids=['compressed alone', 'compressed twice', 'both', 'raw twice'])
def test_log_and_diagnostics_name_the_remapped_topic_that_is_subscribed_to(
    transport: str, rules: list[str], topic: str, robot: Robot, small_model: Path, tmp_path: Path
) -> None:
    found, topic = statuses(robot), robot.resolve_topic_name(topic)
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}', *rules], model=small_model,
                      image_transport=transport, autostart=False)
    wait_until(lambda: found, process.log)
    assert robot.change_state('configure') and robot.change_state('activate')
    wait_until(lambda: of_node(robot, robot.get_subscriptions_info_by_topic(topic)), process.log)
    wait_until(lambda: found[-1].values[0].value == 'active', process.log)
    assert {status.hardware_id for status in found} == {topic}  # before it is configured, too
    assert f'segmenting {topic} with' in process.log()
    assert process.stop() == 0


def test_an_output_is_remapped_by_one_rule(robot: Robot, small_model: Path, tmp_path: Path) -> None:
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}', '~/color:=a', 'a:=b'], model=small_model)
    wait_until(lambda: of_node(robot, robot.get_publishers_info_by_topic(robot.resolve_topic_name('a'))), process.log)
    assert process.stop() == 0


@pytest.mark.parametrize('forced', [False, True], ids=['parameter', 'qos_overrides'])
def test_the_remedy_for_a_refused_qos_changes_what_sets_it(
    forced: bool, robot: Robot, small_model: Path, tmp_path: Path
) -> None:
    camera = robot.create_publisher(Image, 'camera', QoSProfile(depth=1, reliability=BEST_EFFORT))
    override = f'qos_overrides.{camera.topic_name}.subscription.reliability'
    parameters = {override: 'reliable'} if forced else {'image_reliability': 'reliable'}
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}', 'image:=camera'], model=small_model,
                      **parameters)
    process.wait_for_log('offers a QoS that does not match')
    remedy = f'set {override} to best_effort' if forced else 'set image_reliability:=best_effort'
    assert process.log().splitlines()[-1].endswith(f': {remedy}')
    assert process.stop() == 0


def test_diagnostics_have_a_stamp_and_name_node_and_camera(robot: Robot, node: Process) -> None:
    arrays: list[DiagnosticArray] = []
    robot.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
    name = f'{robot.get_namespace()}/enet: image'
    wait_until(lambda: [array for array in arrays if array.status[0].name == name], lambda: str(arrays))
    array = next(array for array in arrays if array.status[0].name == name)
    assert [status.hardware_id for status in array.status] == [robot.resolve_topic_name('image')]
    now = robot.get_clock().now().nanoseconds
    assert now - 60 * 10**9 < array.header.stamp.sec * 10**9 <= now

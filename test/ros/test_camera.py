"""One camera on a real node: what it warns about, and a middleware that does not have every event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_nodes import wait_until

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import UsageError
from enet_ros.images.messages import ImageReader
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from rclpy import event_handler
from rclpy.event_handler import QoSSubscriptionEventType, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from enet_ros.ros.camera import Arrival, Camera, Picture
from enet_ros.ros.client import spinning
from enet_ros.ros.log import LogThrottle
from enet_ros.ros.parameters import PARAMETERS

pytestmark = pytest.mark.usefixtures('ros')


@pytest.fixture
def make_camera(small_model: Path) -> Iterator[Callable[..., Camera]]:
    """Return a function that makes the camera of a node for a 96x64 network."""
    node = rclpy.create_node('enet', namespace='/test_camera')
    segmenter = Segmenter(read_model(small_model), EngineSpec('torch', 'fp32'))

    def make(node: Node = node, wake: Callable[[Camera], None] = lambda _: None, **values: object) -> Camera:
        table = {parameter.name: parameter.default for parameter in PARAMETERS}
        return Camera(node, '', {**table, **values}, segmenter, ImageReader(), wake, LogThrottle(node.get_logger().error))

    yield make
    node.destroy_node()


def warnings_for(camera: Camera, size: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Let `camera` inspect two images of a size, and return what it warns."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for _ in range(2):
        camera.inspect(Picture(Arrival(camera, Image(), 0.0), pixels, 'rgb'))
    return [line for line in capfd.readouterr().err.splitlines() if 'distorted' in line]


def test_a_camera_of_another_aspect_ratio_is_named_once_with_the_size_to_set(
    make_camera: Callable[..., Camera], capfd: pytest.CaptureFixture[str]
) -> None:
    camera = make_camera()
    warning, = warnings_for(camera, (1280, 720), capfd)
    assert warning.endswith('/test_camera/image: images of 1280x720 are distorted to 96x64: '
                            'set width to 112 and height to 64, or resize_mode to letterbox or crop')
    assert not warnings_for(camera, (960, 640), capfd)
    assert not warnings_for(make_camera(resize_mode='crop'), (1280, 720), capfd)


def test_images_of_many_sizes_do_not_flood_the_log(
    make_camera: Callable[..., Camera], capfd: pytest.CaptureFixture[str]
) -> None:
    camera = make_camera()
    assert sum(len(warnings_for(camera, (1280 + number % 2, 720), capfd)) for number in range(20)) == 1


def test_no_size_is_named_for_a_camera_that_none_fits(
    make_camera: Callable[..., Camera], capfd: pytest.CaptureFixture[str]
) -> None:
    warning, = warnings_for(make_camera(), (8192, 16), capfd)
    assert warning.endswith('are distorted to 96x64: set resize_mode to letterbox or crop')


def test_images_arrive_over_a_middleware_that_does_not_report_lost_ones(
    make_camera: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without(event_handler.EventHandler):
        """Stands in for such a middleware: Fast DDS has the event."""

        def __init__(self, *, event_type: object, **options: object) -> None:
            if event_type == QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST:
                raise UnsupportedEventTypeError('event type is not supported')
            super().__init__(event_type=event_type, **options)

    monkeypatch.setattr(event_handler, 'EventHandler', Without)
    node = rclpy.create_node('without', namespace='/test_camera')
    woken: list[Camera] = []
    camera = make_camera(node, woken.append, lazy=False)
    camera.subscribe()
    camera.unsubscribe()
    camera.subscribe()  # as after a deactivation
    publisher = node.create_publisher(Image, camera.topic, 1)
    message = Image(width=2, height=2, step=6, encoding='rgb8', data=bytes(12))
    with spinning(node):
        wait_until(lambda: publisher.publish(message) or woken, lambda: 'no image arrives')
    assert camera.take().message.width == 2
    assert camera.statistics.snapshot().totals.lost == 0
    node.destroy_node()


def test_a_refused_qos_leaves_no_publisher_of_the_camera(make_camera: Callable[..., Camera]) -> None:
    # a lifecycle manager may configure the node again and again
    node = rclpy.create_node('enet', namespace='/test_refused', parameter_overrides=[
        Parameter('qos_overrides./test_refused/enet/camera_info.publisher.reliability', value='bogus')])
    with pytest.raises(UsageError, match='camera_info refused'):
        make_camera(node)
    assert node.count_publishers('/test_refused/enet/labels') == 0
    node.destroy_node()

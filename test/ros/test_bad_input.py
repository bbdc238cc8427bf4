"""Bad images over DDS: they never stop the node, never change the labels of the next image, and cost no memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_data import png, text_bomb, with_frame_size

from enet_ros.images.synthetic import draw_scene

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from ros_nodes import Process, Robot, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

BGR = draw_scene(5, 96, 64)[0]
JPEG = cv2.imencode('.jpg', BGR)[1].tobytes()
PNG = cv2.imencode('.png', BGR)[1].tobytes()
MEBIBYTE = 2**20


pytestmark = pytest.mark.usefixtures('ros')


@contextmanager
def _node(robot: Robot, log: Path, **parameters: object) -> Iterator[tuple[Robot, Process]]:
    process = Process(log, remaps=[f'__ns:={robot.get_namespace()}'], precision='fp32', **parameters)
    try:
        with spinning(robot):
            robot.wait_for_node()
            yield robot, process
            assert process.popen.poll() is None, process.log()
        assert process.stop() == 0 and 'Traceback' not in process.log(), process.log()
    finally:
        process.popen.kill()
        robot.destroy_node()


@pytest.fixture(scope='module')
def raw(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Robot, Process]]:
    with _node(Robot('/bad_raw'), tmp_path_factory.mktemp('raw') / 'log', model=small_model) as node:
        yield node


@pytest.fixture(scope='module')
def compressed(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Robot, Process]]:
    robot = Robot('/bad_compressed', 'image/compressed', CompressedImage)
    log = tmp_path_factory.mktemp('compressed') / 'log'
    with _node(robot, log, model=small_model, image_transport='compressed') as node:
        yield node


def _image(image: np.ndarray = BGR, encoding: str = 'bgr8', **fields: object) -> Image:
    message = to_message(image, encoding, Header())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def _sized(size: int) -> Image:
    """Return the image with `size` bytes of data."""
    message = _image()
    message.data = message.data[:size]
    message.data.frombytes(bytes(size - len(message.data)))
    return message


def _compressed(data: bytes, form: str = 'jpeg') -> CompressedImage:
    message = CompressedImage(format=form)
    message.data.frombytes(data)
    return message


def _good(robot: Robot) -> Image | CompressedImage:
    return _image() if robot.camera.msg_type is Image else _compressed(JPEG)


def _refuse(node: tuple[Robot, Process], message: Image | CompressedImage, reason: str) -> None:
    """Send an unusable message between two good ones: the log names the reason, and both get the same labels."""
    robot, process = node
    before, memory = robot.ask(_good(robot)), process.peak_memory()
    stamp = robot.send(message)
    process.wait_for_log(reason)  # once: the same kind of error is not repeated within 5 s
    time.sleep(0.1)  # a message that is sent at once could replace the unusable one before the node takes it
    assert (robot.ask(_good(robot)) == before).all()
    assert stamp not in robot.labels
    assert process.peak_memory() - memory < 64 * MEBIBYTE


@pytest.mark.parametrize(('message', 'reason'), [
    (_image(step=287), 'step must be at least'),
    (_image(step=0), 'step must be at least'),
    (_image(step=2**32 - 1), 'it is incomplete'),
    (_sized(1000), 'it is incomplete'),
    (_sized(0), 'it is incomplete'),
    (_image(width=0), 'pixels: check the camera driver'),
    (_image(height=0), 'pixels: check the camera driver'),
    (Image(), 'pixels: check the camera driver'),
    (_image(width=2**31), 'more than max_pixels'),
    (_image(width=2**31, height=2**31), 'more than max_pixels'),
    (_image(width=2**32 - 1, height=2**32 - 1, step=2**32 - 1), 'more than max_pixels'),
    (_image(encoding='rainbow'), 'is not supported'),
    (_image(encoding='\x1b[31m\nforged line'), 'is not supported'),
    (_image(encoding='x' * MEBIBYTE), 'is not supported'),
    (_image(encoding='32FC1'), 'does not define colours'),
    (_image(encoding='rgba16'), 'step must be at least'),
    (_image(encoding='nv12', height=63), 'must be a multiple of'),
    (_image(encoding='yuv422', width=95), 'must be a multiple of'),
    (_image(encoding='bayer_rggb8', width=1, height=1), 'must be at least 3x3'),
], ids=['short step', 'no step', 'huge step', 'short data', 'no data', 'no width', 'no height', 'empty', '2^31 columns',
        '2^31 both', '2^32 both', 'unknown encoding', 'escape codes', 'long encoding', 'no colours', 'more bytes than sent',
        'odd nv12', 'odd yuv422', 'bayer 1x1'])
def test_an_unusable_image_is_named_and_leaves_no_trace(message: Image, reason: str, raw: tuple[Robot, Process]) -> None:
    _refuse(raw, message, reason)
    assert '\x1b[31m' not in raw[1].log() and '\nforged' not in raw[1].log()


@pytest.mark.parametrize('message', [
    _sized(BGR.nbytes + 4096),
    _image(is_bigendian=1),
    _image(is_bigendian=255),
], ids=['more data', 'big-endian bytes', 'endianness 255'])
def test_a_strange_but_usable_image_is_segmented(message: Image, raw: tuple[Robot, Process]) -> None:
    assert (raw[0].ask(message) == raw[0].ask(_image())).all()


@pytest.mark.parametrize(('message', 'reason'), [
    (_compressed(JPEG[:len(JPEG) // 2]), 'is damaged or incomplete'),
    (_compressed(JPEG[:-1]), 'is damaged or incomplete'),
    (_compressed(JPEG[:len(JPEG) // 2] + b'\xff\xd9'), 'premature end of data segment'),
    (_compressed(JPEG[:20]), 'damaged or incomplete header'),
    (_compressed(PNG[:len(PNG) // 2], 'png'), 'is damaged or incomplete'),
    (_compressed(PNG[:1000] + b'damage' + PNG[1006:], 'png'), 'is damaged or incomplete'),
    (_compressed(png(1_000_000, 1_000, 40), 'png'), 'more than max_pixels'),
    (_compressed(png(2**31, 2**31, 0), 'png'), 'more than max_pixels'),
    (_compressed(with_frame_size(JPEG, 65535, 65535)), 'more than max_pixels'),
    (_compressed(with_frame_size(JPEG, 0, 64)), 'pixels: check the camera driver'),
    (_compressed(cv2.imencode('.bmp', BGR)[1].tobytes()), 'neither PNG nor JPEG'),
    (_compressed(b''), 'neither PNG nor JPEG'),
    (_compressed(JPEG[2:], 'x' * MEBIBYTE), 'neither PNG nor JPEG'),
], ids=['half a jpeg', 'jpeg without its last byte', 'half a jpeg with an end', 'jpeg header', 'half a png', 'damaged png',
        'png bomb', 'png 2^31', 'jpeg 65535', 'jpeg without width', 'bmp', 'no data', 'long format'])
def test_an_unusable_compressed_image_is_named_and_leaves_no_trace(
    message: CompressedImage, reason: str, compressed: tuple[Robot, Process]
) -> None:
    _refuse(compressed, message, reason)


def test_a_format_that_lies_and_a_bomb_of_text_do_no_harm(compressed: tuple[Robot, Process]) -> None:
    robot, process = compressed
    labels, memory = robot.ask(_compressed(PNG, 'png')), process.peak_memory()
    assert robot.ask(_compressed(text_bomb(100), 'png')).shape == (4, 4)
    assert (robot.ask(_compressed(PNG, 'jpeg')) == labels).all()
    assert process.peak_memory() - memory < 64 * MEBIBYTE  # it expands to 700 MB


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_unusable_images_do_not_flood_the_log(transport: str, request: pytest.FixtureRequest) -> None:
    robot, process = request.getfixturevalue(transport)
    time.sleep(5)  # until errors of earlier tests are logged again
    bad = [_sized(number) for number in range(100)] if transport == 'raw' else [
        _compressed(JPEG[:500 + number] + b'\xff\xd9', f'format{number}') for number in range(100)]
    start, begin = len(process.log()), time.monotonic()
    for message in bad:
        robot.send(message)
        time.sleep(0.02)  # the rate of the camera
    robot.ask(_good(robot))
    lines = process.log()[start:].splitlines()
    errors = [line for line in lines if '[ERROR]' in line]
    assert 0 < len(errors) <= 2 * (1 + (time.monotonic() - begin) // 5), lines  # two kinds, each once in 5 s
    assert all(line.startswith('[') for line in lines), lines  # none by libjpeg


def test_unusable_images_do_not_displace_good_ones(small_model: Path, tmp_path: Path) -> None:
    # a queue: by default DDS itself keeps only the newest image until the node takes it
    depth = {'qos_overrides./bad_burst/image.subscription.depth': 50}
    with _node(Robot('/bad_burst'), tmp_path / 'log', model=small_model, **depth) as (robot, _):
        wide = _image(cv2.resize(BGR, (1920, 1080)))  # takes longer than the unusable ones
        for _ in range(5):
            stamp = robot.send(wide)
            for _ in range(20):
                robot.send(_sized(7))
            robot.wait(robot.labels, stamp)


@pytest.mark.parametrize('stamp', [Time(), Time(sec=-5), Time(sec=2**31 - 1, nanosec=2**32 - 1)],
                         ids=['zero', 'negative', 'far and not normalised'])
def test_any_stamp_comes_back(stamp: Time, raw: tuple[Robot, Process]) -> None:
    robot, _ = raw
    expected = robot.ask(_image())
    message = _image()
    message.header.stamp = stamp
    robot.camera.publish(message)
    answer = robot.wait(robot.labels, stamp.sec)
    assert answer.header.stamp == stamp and bytes(answer.data) == expected.tobytes()
    assert (robot.ask(_image()) == expected).all()


def test_images_with_a_repeated_stamp_are_both_segmented(raw: tuple[Robot, Process]) -> None:
    robot, _ = raw
    other = draw_scene(9, 96, 64)[0]
    expected = [robot.ask(_image(image)).tobytes() for image in (BGR, other)]
    assert expected[0] != expected[1]
    for image, labels in zip((BGR, other), expected):
        message = _image(image)
        message.header.stamp = Time(sec=1_000_000)
        robot.camera.publish(message)
        wait_until(lambda: 1_000_000 in robot.labels and bytes(robot.labels[1_000_000].data) == labels,  # noqa: B023
                   lambda: 'an image with a repeated stamp was not segmented')


def test_a_camera_info_of_another_size_changes_no_labels(raw: tuple[Robot, Process]) -> None:
    robot, _ = raw
    expected = robot.ask(_image())
    publisher = robot.create_publisher(CameraInfo, 'camera_info', 1)
    wait_until(publisher.get_subscription_count, lambda: 'the node does not subscribe to camera_info')
    for width, height in ((640, 480), (0, 0), (2**32 - 1, 2**32 - 1)):
        publisher.publish(CameraInfo(width=width, height=height, binning_x=2**32 - 1))
        time.sleep(0.05)
        assert (robot.ask(_image()) == expected).all()
    robot.destroy_publisher(publisher)


def test_the_size_may_change_in_mid_stream(raw: tuple[Robot, Process]) -> None:
    robot, _ = raw
    images = [cv2.resize(BGR, size) for size in ((96, 64), (640, 360), (1, 1), (33, 47))]
    expected = [robot.ask(_image(image)) for image in images]
    for _ in range(3):
        for image, labels in zip(images, expected):
            assert (robot.ask(_image(image)) == labels).all()


def test_the_newest_image_of_a_burst_after_a_pause_is_segmented(raw: tuple[Robot, Process]) -> None:
    robot, _ = raw
    expected = robot.ask(_image())
    for _ in range(3):
        time.sleep(0.5)
        stamps = [robot.send(_image()) for _ in range(50)]
        answer = robot.wait(robot.labels, stamps[-1])
        assert bytes(answer.data) == expected.tobytes()

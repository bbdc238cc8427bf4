"""The node as a robot runs it: a process of its own that is used over DDS."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from enet_ros.engines.base import EngineSpec
from enet_ros.images.overlay import blend
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.model_file import read_model
from enet_ros.ros.parameters import PARAMETERS, Changes
from enet_ros.segmenter import Segmenter

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from ros_nodes import PATIENCE, Process, Robot, wait_until
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

pytestmark = pytest.mark.usefixtures('ros')


@pytest.fixture(autouse=True)
def no_process_survives_a_failed_test(running: tuple[Robot, Process]) -> Iterator[None]:
    yield
    for process in Process.started:
        if process is not running[1].popen:
            process.kill()


@pytest.fixture(scope='module')
def running(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Robot, Process]]:
    """Run one node for all tests that leave it as it was."""
    robot = Robot('/shared')
    process = Process(tmp_path_factory.mktemp('node') / 'log', remaps=['__ns:=/shared'], model=small_model, precision='fp32')
    with spinning(robot):
        robot.wait_for_node()
        yield robot, process
        assert process.popen.poll() is None, process.log()
    assert process.stop() == 0, process.log()
    assert 'Traceback' not in process.log()
    robot.destroy_node()


@pytest.fixture(scope='module')
def segmenter(small_model: Path) -> Segmenter:
    return Segmenter(read_model(small_model), EngineSpec(precision='fp32'))


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
    assert (running[0].ask(message) == segmenter.segment(rgb, 'rgb').labels).all()


@pytest.mark.parametrize('size', [(1, 1), (4000, 3000), (33, 47)], ids=str)
def test_labels_have_the_size_of_the_image(
    size: tuple[int, int], running: tuple[Robot, Process], segmenter: Segmenter
) -> None:
    image = cv2.resize(RGB, size)
    labels = running[0].ask(_message(image, 'rgb8'))
    assert labels.shape == (size[1], size[0])
    assert (labels == segmenter.segment(image, 'rgb').labels).all()


def _truncated(size: int) -> Image:
    message = _message(RGB, 'rgb8')
    del message.data[size:]
    return message


def _wrong(**fields: object) -> Image:
    message = _message(RGB, 'rgb8')
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(('message', 'error'), [
    (_truncated(1000), '1000 bytes'),
    (_wrong(encoding='rainbow'), '"rainbow"'),
    (_wrong(step=3), 'step 3'),
    (Image(), '0x0'),
], ids=['truncated', 'unknown encoding', 'short step', 'empty'])
def test_an_unusable_image_is_skipped_with_one_error_and_the_next_one_is_segmented(
    message: Image, error: str, running: tuple[Robot, Process]
) -> None:
    robot, process = running
    start = len(process.log())
    stamp = robot.send(message)
    process.wait_for_log(error, start)
    assert robot.ask(_message(RGB, 'rgb8')).shape == (64, 96)
    assert stamp not in robot.labels
    assert process.log().count('[ERROR]', start) == 1, process.log()


def test_a_camera_that_sends_only_unusable_images_does_not_flood_the_log(running: tuple[Robot, Process]) -> None:
    robot, process = running
    start, begin = len(process.log()), time.monotonic()
    for size in range(600, 1000, 20):
        message = _message(RGB[:32], 'rgb8')
        message.step = size % 200
        robot.send(message)
        time.sleep(0.05)  # the rate of the camera
    assert robot.ask(_message(RGB, 'rgb8')).shape == (64, 96)
    lines = process.log()[start:].splitlines()
    assert len(lines) <= 1 + (time.monotonic() - begin) // 5, lines


def test_the_overlay_is_the_image_blended_with_its_labels(running: tuple[Robot, Process], segmenter: Segmenter) -> None:
    expected = blend(RGB, segmenter.segment(BGR, 'bgr').labels, CAMVID.palette(), 0.5)
    assert (running[0].ask_overlay(_message(BGR, 'bgr8')) == expected).all()


def test_classes_alpha_and_output_size_change_at_run_time(running: tuple[Robot, Process]) -> None:
    robot = running[0]
    image = _message(cv2.resize(RGB, (192, 128)), 'rgb8')
    everything = robot.ask(image)
    kept = int(np.unique(everything)[0])
    assert robot.set(classes=CAMVID.names[kept], output_size='network').successful
    labels = robot.ask(image)
    assert labels.shape == (64, 96) and set(np.unique(labels)) == {kept, VOID}
    assert robot.set(overlay_alpha=0.0).successful
    assert (robot.ask_overlay(_message(RGB, 'rgb8')) == RGB).all()
    assert robot.set(classes='', output_size='input', overlay_alpha=0.5).successful
    assert (robot.ask(image) == everything).all()


def test_overlay_alpha_accepts_a_whole_number_at_run_time(running: tuple[Robot, Process], segmenter: Segmenter) -> None:
    robot = running[0]
    assert robot.set(overlay_alpha=1).successful
    expected = CAMVID.palette()[segmenter.segment(RGB, 'rgb').labels]
    assert (robot.ask_overlay(_message(RGB, 'rgb8')) == expected).all()
    assert robot.set(overlay_alpha=0.5).successful


@pytest.mark.parametrize(('values', 'reason'), [
    ({'classes': 'Road, Raod'}, '"Raod"'),
    ({'output_size': 'half', 'classes': 'Road'}, 'input, network'),
    ({'overlay_alpha': 1.5, 'classes': 'Road'}, 'overlay_alpha'),
    ({'overlay_alpha': 2, 'classes': 'Road'}, '0 to 1'),
    ({'overlay_alpha': True}, 'must be a number'),
    ({'overlay_alpha': None}, 'must be a number'),
    ({'backend': 'torch'}, 'read-only'),
], ids=str)
def test_a_refused_change_has_a_reason_and_changes_nothing(
    values: dict[str, object], reason: str, running: tuple[Robot, Process], segmenter: Segmenter
) -> None:
    robot = running[0]
    result = robot.set(**values)
    assert not result.successful and reason in result.reason
    overlay = blend(RGB, segmenter.segment(RGB, 'rgb').labels, CAMVID.palette(), 0.5)
    assert (robot.ask_overlay(_message(RGB, 'rgb8')) == overlay).all()


def test_the_node_declares_the_parameter_table(running: tuple[Robot, Process]) -> None:
    descriptors = running[0].describe()
    names = [parameter.name for parameter in PARAMETERS]
    descriptors.pop('start_type_description_service', None)  # Humble does not have it
    own = [name for name in descriptors if not name.startswith('qos_overrides.')]
    assert sorted(own) == sorted([*names, 'class_names', 'class_colors', 'use_sim_time'])
    for parameter in PARAMETERS:
        descriptor = descriptors[parameter.name]
        assert descriptor.description == parameter.description
        assert descriptor.read_only is (parameter.changes is Changes.NEVER)
        assert all(choice in descriptor.additional_constraints for choice in parameter.choices)
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(r.from_value, r.to_value, r.step) for r in ranges] == (
            [(parameter.range.minimum, parameter.range.maximum, parameter.range.step)] if parameter.range else [])


def test_compressed_images_of_a_remapped_topic_are_segmented_and_damaged_ones_named(
    small_model: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    robot = Robot('/compressed', 'camera/image_raw/compressed', CompressedImage)
    process = Process(tmp_path / 'log', remaps=['__ns:=/compressed', 'image:=camera/image_raw'], model=small_model,
                      precision='fp32', image_transport='compressed')
    with spinning(robot):
        robot.wait_for_node()
        data = cv2.imencode('.png', BGR)[1].tobytes()
        assert (robot.ask(CompressedImage(format='png', data=data)) == segmenter.segment(BGR, 'bgr').labels).all()
        robot.send(CompressedImage(format='jpeg', data=data[:40]))
        process.wait_for_log('40 bytes')
        assert '"jpeg"' in process.log()
        assert robot.ask(CompressedImage(format='png', data=data)).shape == (64, 96)
    assert process.stop() == 0
    robot.destroy_node()


def test_images_that_arrive_too_fast_are_overwritten_and_the_newest_is_segmented(small_model: Path, tmp_path: Path) -> None:
    robot = Robot('/fast')
    # a network size that takes long, and a reliable subscription, so that DDS loses no image
    process = Process(tmp_path / 'log', remaps=['__ns:=/fast'], model=small_model, width=1280, height=960,
                      image_reliability='reliable')
    with spinning(robot):
        robot.wait_for_node()
        stamps = []
        for _ in range(30):
            stamps.append(robot.send(_message(RGB, 'rgb8')))
            time.sleep(0.01)  # the rate of the camera
        robot.wait(robot.labels, stamps[-1])
        assert len(robot.labels.keys() & set(stamps)) < len(stamps)
    assert process.stop(signal.SIGTERM) == 0
    counts = re.search(r'segmented (\d+) images; (\d+) more were overwritten', process.log())
    assert counts, process.log()
    segmented, overwritten = map(int, counts.groups())
    # the signal comes as soon as the last labels do, maybe before the node has counted them
    assert segmented in (len(robot.labels) - 1, len(robot.labels))
    # on a busy machine DDS also overwrites images before the node takes them, and does not report it
    assert 0 < overwritten <= robot.sent - segmented
    robot.destroy_node()


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_to_a_starting_node_stops_it_quietly(
    how: signal.Signals, running: tuple[Robot, Process], small_model: Path, tmp_path: Path
) -> None:
    namespace = f'/starting/{how.name}'
    process = Process(tmp_path / 'log', remaps=[f'__ns:={namespace}'], model=small_model)
    wait_until(lambda: ('enet', namespace) in running[0].get_node_names_and_namespaces(), process.log)
    assert process.stop(how) == 0, process.log()
    assert 'Traceback' not in process.log() and 'FATAL' not in process.log(), process.log()


@pytest.mark.parametrize('moment', ['before', 'after', 'while its entities are added'])
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_when_the_node_is_created_or_added_to_the_executor_stops_it_quietly(
    how: signal.Signals, moment: str, small_model: Path
) -> None:
    script = f"""
import os, sys, time
from rclpy.event_handler import EventHandler
from enet_ros.ros.segment_node import SegmentNode, main

calls = []
add_to_wait_set = EventHandler.add_to_wait_set

def interrupt():
    os.kill(os.getpid(), {int(how)})
    time.sleep(0.2)  # for handlers that run on other threads

def add_and_interrupt(*arguments):
    calls.append(arguments)
    if len(calls) == 2:  # then the executor waits for one event, but not for all
        interrupt()
    return add_to_wait_set(*arguments)

def make_node():
    if {moment == 'before'}:
        interrupt()
    node = SegmentNode()
    if {moment == 'after'}:
        interrupt()
    if {moment == 'while its entities are added'}:
        EventHandler.add_to_wait_set = add_and_interrupt
    return node

sys.exit(main(make_node))
"""
    done = subprocess.run([sys.executable, '-c', script, '--ros-args', '-p', f'model:={small_model}'],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not re.search('Traceback|FATAL|ERROR', done.stderr), done.stderr


def test_repeated_interrupts_do_not_break_the_shutdown(small_model: Path, tmp_path: Path) -> None:
    process = Process(tmp_path / 'log', remaps=['__ns:=/impatient'], model=small_model)
    process.wait_for_log('segmenting')
    deadline = time.monotonic() + PATIENCE
    while process.popen.poll() is None and time.monotonic() < deadline:
        process.popen.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(0.01)
    assert process.popen.poll() == 0, process.log()
    assert 'Traceback' not in process.log(), process.log()


@pytest.mark.parametrize(('arguments', 'reason'), [
    (('foo',), '"foo"'),
    (('--ros-args', '--nonsense'), '--nonsense'),
    (('--ros-args', '-r', 'image:=/bad topic'), 'bad topic'),
    (('--ros-args', '--params-file', '/no/such/file.yaml'), '/no/such/file.yaml'),
    (('--ros-args', '-p', 'width:=['), 'width'),
    (('--ros-args', '-r', '__ns:=bad-namespace'), 'namespace'),
    (('--ros-args', '-p', 'width:=100'), 'width is 100'),
    (('--ros-args', '-p', 'width:=wide'), 'width is \'wide\''),
    (('--ros-args', '-p', 'backend:=tensorflow'), '"tensorflow"'),
    (('--ros-args', '-p', 'overlay_alpha:=2'), 'overlay_alpha is 2'),
    (('--ros-args', '-p', 'classes:=[]'), 'empty list'),
], ids=str)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: Sequence[str], reason: str, tmp_path: Path) -> None:
    process = Process(tmp_path / 'log', *arguments)
    assert process.popen.wait(PATIENCE) == 2, process.log()
    lines = [line for line in process.log().splitlines() if '[FATAL]' in line]
    assert len(lines) == 1 and reason in lines[0], process.log()
    assert 'Traceback' not in process.log()


@pytest.mark.parametrize(('parameters', 'reason'), [
    ({'model': '/no/such/file'}, 'no model file /no/such/file'),
    ({'precision': 'fp16', 'backend': 'openvino'}, 'precision fp16 is not supported'),
    ({'classes': 'Raod'}, '"Raod" is not one of the model'),
], ids=str)
def test_what_the_model_or_engine_cannot_do_is_one_line_and_exit_code_1(
    parameters: dict[str, object], reason: str, small_model: Path, tmp_path: Path
) -> None:
    process = Process(tmp_path / 'log', **{'model': small_model, **parameters})
    assert process.popen.wait(PATIENCE) == 1, process.log()
    lines = process.log().strip().splitlines()
    assert len(lines) == 1 and reason in lines[0], process.log()


def test_unknown_parameters_are_warnings_and_the_others_hold(small_model: Path, tmp_path: Path) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'widht': 64, 'height': 48, 'overlay_alpha': 1, 'use_sim_time': False,
        'qos_overrides': {'/tf': {'subscription': {'depth': 5}}}}}}))
    process = Process(tmp_path / 'log', '--ros-args', '--params-file', str(file), remaps=['__ns:=/unknown'],
                      model=small_model, nonsense=1)
    process.wait_for_log('segmenting')
    assert process.stop() == 0
    warnings = [line for line in process.log().splitlines() if 'unknown parameter' in line]
    assert len(warnings) == 2 and '"widht"' in ''.join(warnings) and '"nonsense"' in ''.join(warnings)
    assert 'at 96x48' in process.log()

"""The node under `use_sim_time`, with a /clock of its own as a bag publishes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_nodes import Process, Robot, wait_until

from enet_ros.images.synthetic import draw_scene

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

pytestmark = pytest.mark.usefixtures('ros', 'processes')

START = 1_700_000_000
AGE = 50_000_000
"""Nanoseconds from the stamp of an image to its arrival."""


class Bag:
    """Plays images and /clock at ten times per second, and keeps what the node makes of them."""

    def __init__(self, robot: Robot) -> None:
        self.labels: list[Image] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._tenths = START * 10
        self._clock = robot.create_publisher(Clock, '/clock', 10)
        self._images = robot.camera
        self._name = f'{robot.get_namespace()}/enet: image'
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play)
        robot.create_subscription(Image, 'enet/labels', lambda message: self.labels.append(message), 50)
        robot.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident:
            self._thread.join()

    def jump(self, seconds: int) -> None:
        """Let the bag go on at this time, and forget the results so far."""
        self._tenths = seconds * 10
        self.forget()

    def forget(self) -> None:
        self.labels, self.diagnostics = [], []

    def image(self, tenths: int) -> Image:
        """Return the image of a moment, which differs from the ones before it."""
        message = to_message(draw_scene(tenths % 50, 96, 64)[0], 'bgr8', Header(frame_id=f'bag {tenths}'))
        nanoseconds = tenths * 100_000_000 - AGE
        message.header.stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return message

    def statuses(self) -> list[DiagnosticStatus]:
        return [array.status[0] for array in self.diagnostics]

    def answered(self, since: int) -> bool:
        """Return whether several labels and diagnostics have stamps from `since` on, in seconds."""
        labels = [message for message in self.labels if message.header.stamp.sec >= since]
        diagnostics = [array for array in self.diagnostics if array.header.stamp.sec >= since]
        return len(labels) > 20 and len(diagnostics) > 2

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        if array.status[0].name == self._name:
            self.diagnostics.append(array)

    def _play(self) -> None:
        while not self._stopped.wait(0.1):
            self._tenths += 1
            seconds, tenth = divmod(self._tenths, 10)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=tenth * 100_000_000)))
            self._images.publish(self.image(self._tenths))


@pytest.fixture
def world(small_model: Path, tmp_path: Path) -> Iterator[tuple[Robot, Process, Bag]]:
    robot = Robot(f'/sim_{tmp_path.name}'.replace('-', '_'))
    process = Process(tmp_path / 'log', remaps=[f'__ns:={robot.get_namespace()}'], model=small_model, precision='fp32',
                      use_sim_time=True)
    bag = Bag(robot)
    with spinning(robot):
        yield robot, process, bag
        bag.stop()
        assert process.stop() == 0
    robot.destroy_node()


def test_images_before_the_first_clock_are_segmented(world: tuple[Robot, Process, Bag]) -> None:
    robot, process, bag = world
    wait_until(lambda: bag.statuses() and bag.statuses()[-1].level == DiagnosticStatus.WARN, process.log)
    status = bag.statuses()[-1]
    assert status.message.startswith(f'no image on {robot.get_namespace()}/image for')
    robot.wait_for_node()
    assert robot.ask(robot.picture()).shape == (64, 96)
    bag.forget()
    wait_until(lambda: bag.statuses(), lambda: 'no diagnostics')
    values = {pair.key: pair.value for pair in bag.statuses()[0].values}
    assert bag.statuses()[0].level == DiagnosticStatus.OK and values['image age (s)'] == ''
    assert bag.diagnostics[0].header.stamp == Time()


@pytest.mark.parametrize('jump', [-600, 600], ids=['back', 'forward'])
def test_labels_and_diagnostics_go_on_when_the_time_jumps(jump: int, world: tuple[Robot, Process, Bag]) -> None:
    _, process, bag = world
    bag.start()
    wait_until(lambda: bag.labels, process.log)
    start = START
    for _ in range(3):
        bag.jump(start)
        wait_until(lambda start=start: bag.answered(start), lambda: f'{len(bag.labels)} labels, {bag.statuses()[-1:]}')
        labels, arrays, statuses = bag.labels[:], bag.diagnostics[:], bag.statuses()
        for message in labels:
            tenths = int(message.header.frame_id.split()[1])
            assert message.header.stamp == bag.image(tenths).header.stamp
        # those from before the jump may still have come
        assert sum(abs(array.header.stamp.sec - start) < 60 for array in arrays) >= len(arrays) - 1
        assert {status.level for status in statuses} == {DiagnosticStatus.OK}, statuses
        values = {pair.key: pair.value for pair in statuses[-1].values}
        assert float(values['image age (s)']) == pytest.approx(AGE / 1e9, abs=0.2)
        assert values['refused'] == '0' and int(values['segmented']) > 0
        start += jump

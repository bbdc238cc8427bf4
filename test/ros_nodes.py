"""The node as a process of its own, and the rest of the robot that uses it over DDS."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from enet_ros.images.synthetic import draw_scene

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message

AsyncParameterClient = pytest.importorskip('rclpy.parameter_client', reason='needs ROS 2 Iron or later').AsyncParameterClient

PATIENCE = 30.0


def wait_until(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    """Wait until `condition` holds; fail with the text of `explain` if it does not within `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)


class Robot(Node):
    """The rest of the robot: a camera, and a subscriber of labels and overlays."""

    def __init__(
        self, namespace: str, topic: str = 'image', kind: type[Image] | type[CompressedImage] = Image, node: str = 'enet'
    ) -> None:
        super().__init__(f'robot_of_{node}', namespace=namespace)
        self._segment_node = node
        self.camera = self.create_publisher(kind, topic, 5)
        self.labels: dict[int, Image] = {}
        self.overlays: dict[int, Image] = {}
        self.create_subscription(Image, f'{node}/labels', lambda m: self._keep(self.labels, m), 50)
        self.create_subscription(Image, f'{node}/overlay', lambda m: self._keep(self.overlays, m), 50)
        self._parameters = AsyncParameterClient(self, node)
        self._service_clients: dict[str, Client] = {}
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

    def wait(self, box: dict[int, Image], stamp: int) -> Image:
        with self._arrived:
            assert self._arrived.wait_for(lambda: stamp in box, PATIENCE), f'nothing came back for image {stamp}'
            return box[stamp]

    def wait_for_node(self) -> None:
        """Send images until an overlay comes back: then all topics are connected."""

        def has_answered() -> bool:
            if self.camera.get_subscription_count():
                self.send(self.picture())
                with self._arrived:
                    self._arrived.wait_for(lambda: self.overlays, 0.1)
            return bool(self.overlays)

        wait_until(has_answered, lambda: 'the node does not answer')

    def picture(self) -> Image | CompressedImage:
        image = draw_scene(1, 96, 64)[0]
        if self.camera.msg_type is CompressedImage:
            return CompressedImage(format='png', data=cv2.imencode('.png', image)[1].tobytes())
        return to_message(image, 'bgr8', Header())

    def ask(self, message: Image | CompressedImage) -> np.ndarray:
        """Return the labels of `message`, after checking their header and form."""
        answer = self.wait(self.labels, stamp := self.send(message))
        assert answer.header.frame_id == f'camera_{stamp}' and answer.header.stamp.nanosec == 1_234
        assert answer.encoding == 'mono8' and answer.step == answer.width
        return np.frombuffer(answer.data, np.uint8).reshape(answer.height, answer.width)

    def ask_overlay(self, message: Image) -> np.ndarray:
        """Return the overlay of `message`, after checking its header and form."""
        answer = self.wait(self.overlays, stamp := self.send(message))
        assert answer.header.frame_id == f'camera_{stamp}' and answer.encoding == 'rgb8'
        return np.frombuffer(answer.data, np.uint8).reshape(answer.height, answer.width, 3)

    def set(self, **values: object) -> SetParametersResult:
        """Set parameters of the node, all or none."""
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        return self._call(lambda client: client.set_parameters_atomically(parameters)).result

    def get(self, name: str) -> object:
        """Return the value of a parameter of the node."""
        return parameter_value_to_python(self._call(lambda client: client.get_parameters([name])).values[0])

    def change_state(self, transition: str) -> bool:
        """Ask for a lifecycle transition, such as configure, and return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return self.call(ChangeState, f'{self._segment_node}/change_state', request).success

    def state(self) -> str:
        """Return the label of the lifecycle state of the node."""
        return self.call(GetState, f'{self._segment_node}/get_state', GetState.Request()).current_state.label

    def call(self, kind: type, name: str, request: object) -> object:
        """Call a service and return its response."""
        if name not in self._service_clients:
            self._service_clients[name] = self.create_client(kind, name)
        client = self._service_clients[name]
        assert client.wait_for_service(PATIENCE), f'there is no service {name}'
        future = client.call_async(request)
        wait_until(future.done, lambda: f'the service {name} does not answer')
        return future.result()

    def describe(self) -> dict[str, ParameterDescriptor]:
        """Return the descriptors of all parameters of the node."""
        names = self._call(lambda client: client.list_parameters()).result.names
        return dict(zip(names, self._call(lambda client: client.describe_parameters(names)).descriptors))

    def _call(self, request: Callable[[AsyncParameterClient], Future]) -> object:
        assert self._parameters.wait_for_services(PATIENCE)
        future = request(self._parameters)
        wait_until(future.done, lambda: 'the parameter service does not answer')
        return future.result()


class Process:
    """A segmentation node as a process, and its log."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, log: Path, *arguments: str, remaps: Sequence[str] = (), **parameters: object) -> None:
        command = [sys.executable, '-m', 'enet_ros.ros.segment_node', *arguments, '--ros-args']
        for remap in remaps:
            command += ['-r', remap]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._log = log
        with open(log, 'wb') as file:
            self.popen = subprocess.Popen(command, stdout=file, stderr=file)
        Process.started.append(self.popen)

    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str, start: int = 0) -> None:
        """Wait until the log contains `text` after its first `start` characters."""
        wait_until(lambda: text in self.log()[start:], lambda: f'"{text}" is not in the log:\n{self.log()}')

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        return int(re.search(r'VmRSS:\s+(\d+) kB', Path(f'/proc/{self.popen.pid}/status').read_text())[1]) * 1024

    def peak_memory(self) -> int:
        """Return the largest resident memory so far, in bytes."""
        return int(re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{self.popen.pid}/status').read_text())[1]) * 1024

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.popen.send_signal(how)
        return self.popen.wait(PATIENCE)


def namespace_for(folder: Path) -> str:
    """Return the namespace of the test with the temporary folder `folder`."""
    return f'/{folder.name}'.replace('-', '_')


@contextmanager
def running(
    folder: Path, *arguments: str, robot: Robot | None = None, **parameters: object
) -> Iterator[tuple[Robot, Process]]:
    """Run a node with its log in `folder`, and a robot in its namespace."""
    robot = robot or Robot(namespace_for(folder))
    process = Process(folder / 'log', *arguments, remaps=[f'__ns:={robot.get_namespace()}'], precision='fp32', **parameters)
    try:
        with spinning(robot):
            yield robot, process
    finally:
        if process.popen.poll() is None:
            assert process.stop() == 0
        robot.destroy_node()

"""Play images to a segmentation node and match its results to them by stamp."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from enet_ros.errors import EnetError
from enet_ros.ros.messages import nanoseconds

# reliable: then images and labels are lost only where the node counts it
_RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)


@dataclass
class Answer:
    """What the node made of one image."""

    index: int
    """Number that the image was sent with."""
    sent: float
    """When it was published, on the monotonic clock, in seconds."""
    latency: float = 0.0
    """Seconds from then to the arrival of its labels."""
    labels: NDArray[np.uint8] | None = None
    """H x W class ids, 255 = void; None until they arrive."""
    confidence: NDArray[np.uint8] | None = None
    """H x W, 0 to 255; likewise."""


@dataclass(frozen=True)
class CameraStatus:
    """What the node says about one of its cameras on /diagnostics."""

    arrived: float
    """When, on the monotonic clock, in seconds."""
    is_error: bool
    message: str
    values: dict[str, str]
    """See docs/diagnostics.md."""


class ReplayClient(Node):
    """Publishes images as a camera does and receives labels, confidence and diagnostics."""

    def __init__(self, node: str, answered: Callable[[Answer], object]) -> None:
        """Subscribe to the results of the segmentation node with the full name `node`, such as /enet.

        `answered` is called with each answer that has labels, in the order of the images, on the receiving thread. It must
        return quickly.
        """
        super().__init__('enet_replay')
        self.answered = answered
        self.statuses: list[CameraStatus] = []
        self._node = node
        self._publisher: Publisher | None = None
        self._arrivals = threading.Condition()
        self._reported = threading.Condition()  # its own: diagnostics must not count as arrivals
        self._sent: dict[int, Answer] = {}  # by stamp; the answers that are not complete
        self._stamp = 0
        self._results = [
            self.create_subscription(Image, f'{node}/labels', self._on_labels, _RELIABLE),
            self.create_subscription(Image, f'{node}/confidence', self._on_confidence, _RELIABLE),
            self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, _RELIABLE),
        ]

    def advertise(self, topic: str, kind: type[Image] | type[CompressedImage]) -> None:
        """Create the publisher of the images."""
        self._publisher = self.create_publisher(kind, topic, _RELIABLE)

    @property
    def subscribers(self) -> int:
        """Return how many subscribers the images have."""
        return self._publisher.get_subscription_count() if self._publisher else 0

    def parameters(self, names: Sequence[str], timeout: float) -> dict[str, object]:
        """Return parameters of the node by name.

        Raises:
            EnetError: it does not answer within `timeout` seconds, or lacks one of them.

        """
        service = self.create_client(GetParameters, f'{self._node}/get_parameters')
        answered = threading.Event()
        deadline = time.monotonic() + timeout
        try:
            if service.wait_for_service(timeout):
                future = service.call_async(GetParameters.Request(names=names))
                future.add_done_callback(lambda _: answered.set())
                if answered.wait(deadline - time.monotonic()):
                    values = future.result().values  # empty if the node lacks one
                    if len(values) != len(names):
                        raise EnetError(f'node {self._node} does not have all of the parameters {", ".join(names)}: check '
                                        'that it is a segment_node of this version')
                    return dict(zip(names, map(parameter_value_to_python, values)))
        finally:
            self.destroy_client(service)
        raise EnetError(f'node {self._node} does not answer its service {service.srv_name} within {timeout:g} s: check '
                        'whether it still runs')

    def send(self, message: Image | CompressedImage, index: int) -> float:
        """Publish an image with a new stamp, the current time, and return when, on the monotonic clock."""
        self._stamp = max(self._stamp + 1, self.get_clock().now().nanoseconds)
        message.header.stamp = Time(sec=self._stamp // 10**9, nanosec=self._stamp % 10**9)
        assert self._publisher is not None
        with self._arrivals:
            answer = self._sent[self._stamp] = Answer(index, time.monotonic())
        self._publisher.publish(message)
        return answer.sent

    def wait_for_answers(self, patience: float) -> bool:
        """Wait for all images that were sent, as long as something arrives every `patience` seconds. Then forget the others.

        Return whether the last one was answered.
        """
        with self._arrivals:
            while self._sent and self._arrivals.wait(patience):
                pass
            is_complete = not self._sent
            self._settle(self._stamp)
            return is_complete

    def wait_for_status(self, accept: Callable[[CameraStatus], bool], timeout: float) -> CameraStatus | None:
        """Return the next status that `accept` accepts; None if none comes within `timeout` seconds."""
        with self._reported:
            seen = len(self.statuses)
            found: list[CameraStatus] = []

            def has_come() -> bool:
                nonlocal seen
                found.extend(status for status in self.statuses[seen:] if accept(status))
                seen = len(self.statuses)
                return bool(found)

            self._reported.wait_for(has_come, timeout)
        return found[0] if found else None

    def _on_labels(self, message: Image) -> None:
        now = time.monotonic()
        with self._arrivals:
            if answer := self._sent.get(stamp := nanoseconds(message.header.stamp)):  # other cameras may have images, too
                answer.labels, answer.latency = _pixels(message), now - answer.sent
                self._complete(stamp, answer)

    def _on_confidence(self, message: Image) -> None:
        with self._arrivals:
            if answer := self._sent.get(stamp := nanoseconds(message.header.stamp)):
                answer.confidence = _pixels(message)
                self._complete(stamp, answer)

    def _complete(self, stamp: int, answer: Answer) -> None:
        if answer.labels is not None and answer.confidence is not None:
            self._settle(stamp)
        self._arrivals.notify_all()

    def _settle(self, stamp: int) -> None:
        """Hand over the answers up to `stamp`. Topics keep their order: what these lack does not come any more."""
        for key in [key for key in self._sent if key <= stamp]:
            answer = self._sent.pop(key)
            if answer.labels is not None:
                self.answered(answer)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        with self._reported:
            for status in array.status:
                if status.name.startswith(f'{self._node}: '):
                    values = {pair.key: pair.value for pair in status.values}
                    self.statuses.append(
                        CameraStatus(time.monotonic(), status.level == status.ERROR, status.message, values))
            self._reported.notify_all()


@contextmanager
def spinning(node: Node) -> Iterator[None]:
    """Spin `node` on its own thread for the duration of the block."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):  # the process is interrupted, which ends the block, too
            executor.spin()

    thread = threading.Thread(target=spin, name='spin')
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()


def _pixels(message: Image) -> NDArray[np.uint8]:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)

"""Publish the state of every camera on /diagnostics, and warn when images stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile

from enet_ros.engines.base import Engine
from enet_ros.network.model_file import ModelFile
from enet_ros.ros.statistics import Snapshot

PERIOD = 1.0
"""Seconds between two messages on /diagnostics."""


@dataclass(frozen=True)
class CameraReport:
    """What the node knows about one camera when a status is due."""

    name: str
    """Name of the status after that of the node: the camera's name, or `image` where the node has only one."""
    topic: str
    """Full name of the image topic."""
    message_type: str
    """Type the node subscribes with: sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage."""
    qos: QoSProfile
    """QoS the node requests."""
    state: str
    """Label of the lifecycle state, such as active."""
    enabled: bool
    """Whether ~/enable is on."""
    expected_since: float | None
    """When the node subscribed, on the monotonic clock; None while it does not want images."""
    image_timeout: float
    """Parameter: seconds without an image that are a problem."""
    max_image_age: float
    """Parameter: seconds from stamp to arrival that are a problem if longer; 0 = never."""
    statistics: Snapshot
    health: tuple[str, ...] = ()
    """Problems of the latest images: `ImageHealth.problems`."""
    configuration: Mapping[str, str] | None = None
    """Values about engine and model: `describe_configuration`; None while there is no engine."""
    error: str = ''
    """Why the last transition failed; empty if it did not."""


def describe_configuration(engine: Engine, model: ModelFile) -> dict[str, str]:
    """Return the values about `engine` and `model`, by key."""
    spec = engine.spec
    return {
        'backend': spec.backend, 'device': engine.device, 'precision': spec.precision,
        'network size': f'{spec.width}x{spec.height}', 'model': model.path.name, 'model sha256': model.sha256[:12],
        'classes': str(len(model.info.labels)),
    }


def camera_status(node_name: str, report: CameraReport, cause: str = '') -> DiagnosticStatus:
    """Return the status of a camera of the node with the full name `node_name`.

    `cause` says why images do not arrive; it is used only if they do not.
    """
    raise NotImplementedError


class DiagnosticsPublisher:
    """Publishes the status of all cameras once per second, and logs when images stop and when they arrive again.

    The timer uses the steady clock: under `use_sim_time` ROS time stands still until /clock is published.
    """

    def __init__(self, node: Node, reports: Callable[[], Iterable[CameraReport]]) -> None:
        """Start. `reports` is called by the executor of `node`, in every lifecycle state; it returns one per camera."""

    def destroy(self) -> None:
        """Stop, and destroy timer and publisher."""

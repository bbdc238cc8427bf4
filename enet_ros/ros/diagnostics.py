"""Publish the state of every camera on /diagnostics, and log when images stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from enet_ros.engines.base import Engine
from enet_ros.images.health import Health
from enet_ros.network.model_file import ModelFile
from enet_ros.ros.missing_images import explain_missing_images
from enet_ros.ros.statistics import STAGES, Snapshot

PERIOD = 1.0
"""Seconds between two messages on /diagnostics."""
LOST_SHARE = 0.5
"""Share of images lost by DDS that is a problem."""
_CONFIGURATION = ('backend', 'device', 'precision', 'network size', 'model', 'model sha256', 'classes')
_CAUSES = 10  # different causes of one interruption that are logged


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
    health: Health | None = None
    """That of the latest images: `ImageHealth.latest`."""
    configuration: Mapping[str, str] | None = None
    """Values about engine and model: `describe_configuration`; None while there is no engine."""
    error: str = ''
    """Why the last transition failed; empty if it did not."""

    @property
    def expected(self) -> bool:
        """Return whether images are expected."""
        return self.state == 'active' and self.enabled and self.expected_since is not None

    @property
    def silence(self) -> float | None:
        """Return the seconds without an image, from `image_timeout` on; None if none is expected or they arrive."""
        if not self.expected:
            return None
        silence = self.statistics.time - max(self.expected_since or 0.0, self.statistics.last_image or 0.0)
        return silence if silence >= self.image_timeout else None


def describe_configuration(engine: Engine, model: ModelFile) -> dict[str, str]:
    """Return the values about `engine` and `model`, by key."""
    spec = engine.spec
    return dict(zip(_CONFIGURATION, (
        spec.backend, engine.device, spec.precision, f'{spec.width}x{spec.height}', model.path.name, model.sha256[:12],
        str(len(model.info.labels)),
    )))


def camera_status(node_name: str, report: CameraReport, cause: str = '') -> DiagnosticStatus:
    """Return the status of a camera of the node with the full name `node_name`.

    `cause` is why images do not arrive; it is used only if they do not.
    """
    level, message = DiagnosticStatus.OK, _summary(report)
    if report.error:
        level, message = DiagnosticStatus.ERROR, report.error
    elif problems := _problems(report, cause):
        level, message = DiagnosticStatus.WARN, '; '.join(problems)
    return DiagnosticStatus(
        level=level, name=f'{node_name}: {report.name}', message=message, hardware_id=report.topic,
        values=[KeyValue(key=key, value=value) for key, value in _values(report).items()],
    )


class DiagnosticsPublisher:
    """Publishes the status of all cameras once per second, and logs when images stop and when they arrive again.

    The timer uses the steady clock: under `use_sim_time` ROS time stands still until /clock is published.
    """

    def __init__(self, node: Node, reports: Callable[[], Iterable[CameraReport]]) -> None:
        """Start. `reports` is called by the executor of `node`, in every lifecycle state; it returns one per camera."""
        self._node = node
        self._reports = reports
        self._logged: dict[str, _Interruption] = {}  # by camera
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._timer = node.create_timer(PERIOD, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """Stop, and destroy timer and publisher."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        for report in self._reports():
            cause = ''
            if report.silence is not None:
                cause = explain_missing_images(self._node, report.topic, report.message_type, report.qos)
            self._log(report, cause)
            array.status.append(camera_status(self._node.get_fully_qualified_name(), report, cause))
        self._publisher.publish(array)

    def _log(self, report: CameraReport, cause: str) -> None:
        """Log each cause once until images arrive."""
        last = report.statistics.last_image
        interruption = self._logged.setdefault(report.name, _Interruption(last, set()))
        if last not in (None, interruption.last_image):
            if interruption.causes:
                self._node.get_logger().info(f'images arrive on {report.topic}')
            interruption = self._logged[report.name] = _Interruption(last, set())
        if cause and cause not in interruption.causes and len(interruption.causes) < _CAUSES:
            interruption.causes.add(cause)
            self._node.get_logger().warning(f'no image on {report.topic} for {report.image_timeout:g} s: {cause}')


@dataclass(frozen=True)
class _Interruption:
    """What was logged since the last image."""

    last_image: float | None
    causes: set[str]


def _summary(report: CameraReport) -> str:
    """Return the message of a status without problems."""
    if report.state != 'active':
        return report.state
    if not report.enabled:
        return 'disabled'
    if report.expected_since is None:
        return 'not subscribed to the camera: nothing subscribes to the outputs'
    statistics = report.statistics
    if statistics.last_image is None:
        return 'waiting for the first image'
    return f'{statistics.fps_in:.1f} images/s received, {statistics.fps_out:.1f} segmented'


def _problems(report: CameraReport, cause: str) -> list[str]:
    """Return what is wrong with the images that the node expects."""
    if not report.expected:
        return []
    if report.silence is not None:
        return [f'no image on {report.topic} for {report.silence:.0f} s: {cause}']
    statistics, limit = report.statistics, report.max_image_age
    problems = []
    if statistics.refused:
        problems.append(f'{statistics.refused} images refused: {statistics.last_error}')
    if statistics.lost_share >= LOST_SHARE:
        problems.append(f'DDS loses {statistics.lost_share:.0%} of the images: use config/fastdds.xml in the camera driver, '
                        'too, or a compressed transport (docs/node.md, "Missing images?")')
    if limit and statistics.age is not None and abs(statistics.age) > limit:
        problem = 'late: images arrive {} s after their stamp' if statistics.age > 0 else 'stamps are {} s in the future'
        problems.append(f'{problem.format(f"{abs(statistics.age):.2f}")}, limit {limit:g} (max_image_age): check the clocks '
                        'of the machines, use_sim_time, and the load')
    return [*problems, *(report.health.problems if report.health else ())]


def _values(report: CameraReport) -> dict[str, str]:
    """Return the values of a status. The keys are always the same; an empty value is not known."""
    def number(value: float | None, digits: int = 2) -> str:
        return '' if value is None else f'{value:.{digits}f}'

    def since(moment: float | None) -> float | None:
        return None if moment is None else statistics.time - moment

    statistics, totals = report.statistics, report.statistics.totals
    latencies = {
        f'latency {stage} {percentile} (ms)': number(getattr(statistics.latencies.get(stage), percentile, None))
        for stage in STAGES for percentile in ('p50', 'p99')
    }
    return {
        'state': report.state,
        'enabled': str(report.enabled).lower(),
        'topic': report.topic,
        'received per second': number(statistics.fps_in),
        'segmented per second': number(statistics.fps_out),
        'expected': str(totals.received + totals.lost),
        'received': str(totals.received),
        'lost in DDS': str(totals.lost),
        'segmented': str(totals.segmented),
        'overwritten': str(totals.overwritten),
        'refused': str(totals.refused),
        'skipped': str(totals.skipped),
        'since last image (s)': number(since(statistics.last_image)),
        'image age (s)': number(statistics.age, 3),
        **latencies,
        'sharpness': number(report.health.sharpness if report.health else None, 1),
        **(report.configuration or dict.fromkeys(_CONFIGURATION, '')),
        'last error': statistics.last_error,
        'since last error (s)': number(since(statistics.last_error_time)),
    }

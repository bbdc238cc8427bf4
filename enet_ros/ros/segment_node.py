"""The segmentation node: camera images in; labels, overlays and what belongs to them out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer
from rclpy.utilities import remove_ros_args
from std_srvs.srv import SetBool

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError, UsageError, described, one_line, quoted
from enet_ros.exit_codes import ExitCode
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.images.messages import ImageReader
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.ros.bond import ManagerBond
from enet_ros.ros.camera import Camera, image_name
from enet_ros.ros.diagnostics import CameraReport, DiagnosticsPublisher, describe_configuration
from enet_ros.ros.executor import make_executor
from enet_ros.ros.guarded_node import GuardedNode
from enet_ros.ros.label_info import LabelInfo
from enet_ros.ros.log import forward_log
from enet_ros.ros.memory import return_freed_memory
from enet_ros.ros.node_parameters import TABLE, declare_class_table, declare_parameters, read_parameters, remove_class_table
from enet_ros.ros.parameter_files import unused_parameter_files
from enet_ros.ros.parameters import Changes
from enet_ros.ros.settings import Settings, camera_names
from enet_ros.ros.shared_memory import shared_memory_warnings
from enet_ros.ros.statistics import CameraStatistics
from enet_ros.ros.stop_signals import StopSignals
from enet_ros.ros.worker import Worker
from enet_ros.segmenter import Segmenter

RCLError, UnknownROSArgsError = rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError
_REFUSALS_OF_ROS = (RCLError, UnknownROSArgsError, NameValidationException, ParameterException)
_HELP = f"""\
usage: segment_node [-h] [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r NAME:=TOPIC] ...]

Segment camera images: subscribe to image, publish ~/labels, ~/overlay and more.

Set parameters and topics with --ros-args, for example
  segment_node --ros-args -p classes:=Road -r image:=/camera/image_raw

Parameters: {', '.join(TABLE)}.
Their table is in docs/node.md; "ros2 launch enet_ros segment.launch.py --show-args" prints it."""
_SUBSCRIBER_PERIOD = 0.2
"""Seconds between two looks for subscribers, with lazy_subscription. Humble has no events for them."""
_SIGNAL_PERIOD = 0.1
"""Seconds between two looks for a signal, while no callback runs."""


class SegmentNode(GuardedNode):
    """Segments the newest image of one or several cameras.

    A managed node: configure loads the model and makes the engine and the publishers, activate subscribes to the cameras,
    deactivate drops the subscriptions, cleanup frees the engine. Source: design.ros2.org/articles/node_lifecycle.html. The
    thread of the executor receives the images; one worker thread segments them.
    """

    def __init__(self) -> None:
        """Declare the parameters. The node is unconfigured then.

        Raises:
            UsageError: the value of a parameter is not allowed.

        """
        try:
            # rclpy has no list of overrides: declared this way, unknown ones can be found and reported
            super().__init__('enet', automatically_declare_parameters_from_overrides=True)
        except ValueError as error:
            raise UsageError("a parameter is set to [], an empty list: use '' for an empty text") from error
        forward_log(self.get_logger())
        for warning in unused_parameter_files(sys.argv, self.get_fully_qualified_name()):
            self.get_logger().warning(warning)
        declare_parameters(self)
        self.failure: Exception | None = None
        """Why the last transition failed."""
        self._enabled = True
        self._segmenter: Segmenter | None = None
        self._worker: Worker | None = None
        self._cameras: list[Camera] = []
        self._segmented = self._overwritten = 0  # of cameras that were removed
        self._bond: ManagerBond | None = None
        self._subscriber_timer: Timer | None = None
        self.add_on_set_parameters_callback(self._change_parameters)
        self.create_service(SetBool, '~/enable', self._enable)
        self._diagnostics = DiagnosticsPublisher(self, self._reports)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, make the engine and the publishers."""
        return self._try('configure', self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start to segment."""
        return self._try('activate', self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop segmenting and drop the subscriptions."""
        return self._try('deactivate', self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and remove the topics."""
        return self._try('cleanup', self.release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        return self._try('shutdown', self.release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that failed, so that it can be repeated."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> bool:
        """Configure and activate if `autostart` is set. Return False if that failed: `failure` says why."""
        if not self.get_parameter('autostart').value:
            self.get_logger().info('unconfigured: waiting for lifecycle transitions, because autostart is false')
            return True
        transitions = (self.trigger_configure, self.trigger_activate)
        return all(transition() == TransitionCallbackReturn.SUCCESS for transition in transitions)

    def release(self) -> None:
        """Stop the worker, remove the topics of the cameras and free the engine."""
        self._deactivate()
        for camera in self._cameras:
            totals = camera.statistics.snapshot().totals
            self._segmented += totals.segmented
            self._overwritten += totals.overwritten
            camera.destroy()
        self._cameras = []
        self._worker = self._segmenter = None
        remove_class_table(self)
        gc.collect()  # engines are large, and exceptions may hold them in cycles
        return_freed_memory()

    def counts(self) -> str:
        """Return how many images were segmented and overwritten before the last `release`, as text for the log."""
        return f'segmented {self._segmented} images; {self._overwritten} more were overwritten by newer ones'

    def _configure(self) -> None:
        values = read_parameters(self)
        names = camera_names(values['cameras'])
        # on a GPU, one call for several images takes less time than a call for each; on a CPU it does not
        on_gpu = has_nvidia_gpu() and values['backend'] != 'openvino'
        spec = EngineSpec(
            values['backend'], values['precision'], values['width'], values['height'], batch=len(names) if on_gpu else 1,
            threads=values['threads'],
        )
        settings = Settings.of(values)
        self._segmenter = segmenter = Segmenter(
            read_model(Path(values['model'] or default_model())), spec, classes=settings.classes,
            output_size=settings.output_size, resize_mode=values['resize_mode'],
        )
        reader = ImageReader(values['max_pixels'])
        self._worker = Worker(segmenter, reader, settings)
        declare_class_table(self, segmenter.labels)
        for name in names:
            camera = Camera(self, name, values, segmenter, reader, self._worker.wake, self.log_error)
            camera.enabled = self._enabled
            self._cameras.append(camera)
        if LabelInfo is None:
            self.get_logger().info('label_info is not published: install vision_msgs, or read the parameter class_names')
        for warning in shared_memory_warnings():
            self.get_logger().warning(warning)

    def _activate(self) -> None:
        assert self._worker is not None and self._segmenter is not None
        self._announce(self._worker.settings)  # before the first labels
        self._worker.start(self._cameras)
        if not self.get_parameter('autostart').value:
            self._bond = ManagerBond(self)  # otherwise nothing manages the node
        is_lazy = self.get_parameter('lazy_subscription').value
        if is_lazy:
            # a steady clock: ROS time may stand still
            self._subscriber_timer = self.create_timer(
                _SUBSCRIBER_PERIOD, self._follow_subscribers, clock=Clock(clock_type=ClockType.STEADY_TIME)
            )
        for camera in self._cameras:
            if not is_lazy:
                camera.subscribe()
        engine = self._segmenter.engine
        self.get_logger().info(
            f'segmenting {", ".join(camera.topic for camera in self._cameras)} with {self._segmenter.model.path.name}: '
            f'{len(self._segmenter.labels)} classes at {engine.spec.width}x{engine.spec.height}, '
            f'{engine.spec.backend} on {engine.device} in {engine.spec.precision}'
        )

    def _deactivate(self) -> None:
        if self._bond is not None:
            self._bond.destroy()
            self._bond = None
        if self._subscriber_timer is not None:
            self.destroy_timer(self._subscriber_timer)
            self._subscriber_timer = None
        for camera in self._cameras:
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()

    def _announce(self, settings: Settings) -> None:
        for camera in self._cameras:
            camera.outputs.announce(settings.classes)

    def _follow_subscribers(self) -> None:
        for camera in self._cameras:
            camera.follow_subscribers()

    def _try(self, transition: str, act: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a transition. rclpy (7.1.6) drops its exceptions without a message, so log them here."""
        try:
            act()
        except Exception as error:
            self.failure = error
            self.get_logger().error(f'cannot {transition}: {described(error)}')
            return TransitionCallbackReturn.ERROR
        self.failure = None
        return TransitionCallbackReturn.SUCCESS

    def _change_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Apply all of the changes or none, and give the reason if one is refused."""
        changes = {parameter.name: parameter.value for parameter in parameters if parameter.name in TABLE}
        try:
            for name, value in changes.items():
                TABLE[name].check(value)
                if self._worker is not None and TABLE[name].changes is Changes.UNCONFIGURED:
                    raise UsageError(f'{name} is read-only until the node is unconfigured: '
                                     f'ros2 lifecycle set {self.get_fully_qualified_name()} deactivate, then cleanup')
            if changes and self._worker is not None and self._segmenter is not None:
                settings = Settings.of({**read_parameters(self), **changes})
                if settings.classes:
                    self._segmenter.labels.keep_only(settings.classes)  # raises for an unknown name
                self._worker.settings = settings
                if self._worker.is_running:
                    self._announce(settings)
        except EnetError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _reports(self) -> list[CameraReport]:
        """Return what the diagnostics need to know about each camera."""
        state, error = self._state_machine.current_state[1], '' if self.failure is None else described(self.failure)
        if self._segmenter is None:
            topic = self.resolve_topic_name(image_name(self, '', self.get_parameter('image_transport').value))
            return [CameraReport('image', topic, '', QoSProfile(depth=1), state, self._enabled, None, 0, 0,
                                 CameraStatistics().snapshot(), error=error)]
        configuration = describe_configuration(self._segmenter.engine, self._segmenter.model)
        return [camera.report(state, configuration, error) for camera in self._cameras]

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        for camera in self._cameras:
            camera.enabled = request.data
        response.success, response.message = True, f'segmentation is {"enabled" if request.data else "disabled"}'
        self.get_logger().info(response.message)
        return response


def _spin(node: SegmentNode, executor: Executor, signals: StopSignals) -> None:
    """Run the callbacks until a signal arrives. A timer or event that fails is logged and does not stop the node."""
    while not signals.received:
        try:
            # the executor waits in C++, where no handler of Python runs
            executor.spin_once(timeout_sec=_SIGNAL_PERIOD)
        except Exception as error:
            node.log_error(f'callback failed: {described(error)}')


def main(make_node: Callable[[], SegmentNode] = SegmentNode) -> int:
    """Run the node until it is interrupted. Return 1 if it cannot start, 2 for invalid arguments or parameters."""
    signals = StopSignals()
    sys.setswitchinterval(1e-4)  # the worker waits for the executor's thread 0.2 ms less
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        if unknown := remove_ros_args()[1:]:
            if {'-h', '--help'} & set(unknown):
                print(_HELP)
                rclpy.shutdown()
                return ExitCode.SUCCESS
            raise UsageError(f'unknown argument {quoted(unknown[0])}: set parameters with --ros-args -p NAME:=VALUE')
        executor = make_executor()
        node = make_node()
    except (EnetError, *_REFUSALS_OF_ROS) as error:
        text = f'unknown ROS argument: {error}' if isinstance(error, UnknownROSArgsError) else one_line(error)
        rclpy.logging.get_logger('enet').fatal(text)
        rclpy.try_shutdown()
        return _exit_code(error)
    try:
        if not node.start():
            return _exit_code(node.failure)
        executor.add_node(node)
        _spin(node, executor, signals)
        node.release()
        node.get_logger().info(node.counts())
        return ExitCode.SUCCESS
    finally:
        executor.shutdown()
        node.release()
        node.destroy_node()
        rclpy.try_shutdown()
        signals.ignore()


def _exit_code(failure: Exception | None) -> ExitCode:
    return ExitCode.USAGE if isinstance(failure, (UsageError, *_REFUSALS_OF_ROS)) else ExitCode.ERROR


if __name__ == '__main__':
    sys.exit(main())

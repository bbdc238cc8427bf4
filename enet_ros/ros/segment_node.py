"""The segmentation node: camera images in, label images and overlays out."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError, UsageError, one_line, quoted
from enet_ros.exit_codes import ExitCode
from enet_ros.images.channels import to_rgb
from enet_ros.images.messages import ImageReader
from enet_ros.images.overlay import blend
from enet_ros.labels import parse_names
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.ros.log import LogThrottle, forward_log
from enet_ros.ros.messages import to_message
from enet_ros.ros.parameters import PARAMETERS, Changes, NodeParameter
from enet_ros.segmenter import Segmenter

RCLError, UnknownROSArgsError = rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError
_REFUSALS_OF_ROS = (RCLError, UnknownROSArgsError, NameValidationException, ParameterException)
_TABLE = {parameter.name: parameter for parameter in PARAMETERS}
_PARAMETERS_OF_ROS = ('use_sim_time', 'start_type_description_service')


class SegmentNode(Node):
    """Segments the newest camera image.

    One worker thread owns the segmenter. Only the newest image is kept for it; older ones are dropped and counted. Images
    that DDS drops before this process takes them are not counted.
    """

    def __init__(self) -> None:
        """Read the parameters, create the segmenter and subscribe.

        Raises:
            UsageError: the value of a parameter is not allowed.
            EnetError: the model or engine cannot be used.

        """
        try:
            # rclpy has no list of overrides: declared this way, unknown ones can be found and reported
            super().__init__('enet', automatically_declare_parameters_from_overrides=True)
        except ValueError as error:
            raise UsageError("a parameter is set to [], an empty list: use '' for an empty text") from error
        forward_log(self.get_logger())
        values = _declare_parameters(self)
        spec = EngineSpec(values['backend'], values['precision'], values['width'], values['height'])
        self._segmenter = Segmenter(
            read_model(Path(values['model'] or default_model())), spec,
            classes=parse_names(values['classes']), output_size=values['output_size'],
        )
        self._alpha = float(values['overlay_alpha'])
        self._palette = self._segmenter.labels.palette()
        self._reader = ImageReader()
        self._log_error = LogThrottle(self.get_logger().error)
        self.add_on_set_parameters_callback(self._change_parameters)

        self._labels_publisher = self.create_publisher(Image, '~/labels', 1)
        self._overlay_publisher = self.create_publisher(Image, '~/overlay', 1)
        self._newest: Image | CompressedImage | None = None
        self._arrived = threading.Condition()
        self._stopping = False
        self._segmented = self._overwritten = 0
        message_type, topic = Image, 'image'
        if values['image_transport'] == 'compressed':
            # as image_transport does: remapping "image" also moves the compressed topic
            message_type, topic = CompressedImage, self.resolve_topic_name('image') + '/compressed'
        reliability = QoSReliabilityPolicy[values['image_reliability'].upper()]
        subscription = self.create_subscription(
            message_type, topic, self._keep_newest, QoSProfile(depth=1, reliability=reliability)
        )
        engine = self._segmenter.engine
        self.get_logger().info(
            f'segmenting {subscription.topic_name} with {self._segmenter.model.path.name}: '
            f'{len(self._segmenter.labels)} classes at {engine.spec.width}x{engine.spec.height}, '
            f'{engine.spec.backend} on {engine.device} in {engine.spec.precision}'
        )
        # last, because nothing would stop it if something after it failed
        self._worker = threading.Thread(target=self._work, name='segment', daemon=True)
        self._worker.start()

    def stop_worker(self) -> None:
        """Let the worker finish its image, and wait for it. The publishers must exist until then."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._worker.join()

    def counts(self) -> str:
        """Return how many images were segmented and overwritten, as text for the log."""
        return f'segmented {self._segmented} images; {self._overwritten} more were overwritten by newer ones'

    def _change_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Apply all of the changes or none, and give the reason if one is refused."""
        values = {parameter.name: parameter.value for parameter in parameters}
        try:
            for name in values.keys() & _TABLE.keys():
                _TABLE[name].check(values[name])
            classes = parse_names(values['classes']) if 'classes' in values else None
            self._segmenter.configure(classes, values.get('output_size'))
        except EnetError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._alpha = float(values.get('overlay_alpha', self._alpha))
        return SetParametersResult(successful=True)

    def _keep_newest(self, message: Image | CompressedImage) -> None:
        with self._arrived:
            self._overwritten += self._newest is not None
            self._newest = message
            self._arrived.notify()

    def _work(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._stopping or self._newest is not None)
                if self._stopping:
                    return
                message, self._newest = self._newest, None
            try:
                self._segment(message)
            except EnetError as error:
                self._log_error(f'image skipped: {error}')
            except Exception as error:  # one image must not stop the node: the next one may work
                if rclpy.ok():  # otherwise it failed because the node is shutting down
                    self._log_error(f'image failed: {type(error).__name__}: {one_line(error)}')

    def _segment(self, message: Image | CompressedImage) -> None:
        read = self._reader.read_compressed if isinstance(message, CompressedImage) else self._reader.read
        image, channels = read(message)
        labels = self._segmenter.segment(image, channels).labels
        self._labels_publisher.publish(to_message(labels, 'mono8', message.header))
        self._segmented += 1
        if self._overlay_publisher.get_subscription_count():
            overlay = blend(to_rgb(image, channels), labels, self._palette, self._alpha)
            self._overlay_publisher.publish(to_message(overlay, 'rgb8', message.header))


def _declare_parameters(node: Node) -> dict[str, Any]:
    """Declare the table on a node that has declared its overrides, warn about overrides that are not in the table.

    Returns the values.

    Raises:
        UsageError: a value is not allowed.

    """
    for name, override in node.get_parameters_by_prefix('').items():
        if name in _TABLE:
            _TABLE[name].check(override.value)
        elif name in _PARAMETERS_OF_ROS or name.startswith('qos_overrides.'):
            continue
        else:
            node.get_logger().warning(f'unknown parameter {quoted(name)} is ignored: the node has {", ".join(_TABLE)}')
        node.undeclare_parameter(name)
    return {
        parameter.name: node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter)).value
        for parameter in PARAMETERS
    }


def _descriptor(parameter: NodeParameter) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows and rclpy checks."""
    descriptor = ParameterDescriptor(
        description=parameter.description,
        additional_constraints=parameter.constraint if parameter.choices else '',
        read_only=parameter.changes is not Changes.RUN_TIME,
        dynamic_typing=parameter.type is float,  # rclpy would refuse whole numbers
    )
    if parameter.range is not None:
        low, high, step = parameter.range.minimum, parameter.range.maximum, parameter.range.step
        if parameter.type is int:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=step)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor


def _shut_down() -> None:
    with suppress(RCLError):  # a signal may shut the context down between its check and its shutdown
        rclpy.try_shutdown()


def main(make_node: Callable[[], SegmentNode] = SegmentNode) -> int:
    """Run the node until it is interrupted. Return 1 if it cannot start, 2 for invalid arguments or parameters."""
    # Python must not raise KeyboardInterrupt: rclpy's own handler shuts the context down, as for SIGTERM. The exception
    # could come while a runtime creates the engine on its own thread, which crashes the process, or during the clean-up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    initialized = False
    try:
        rclpy.init()
        initialized = True
        if unknown := remove_ros_args()[1:]:
            raise UsageError(f'unknown argument {quoted(unknown[0])}: set parameters with --ros-args -p NAME:=VALUE')
        executor = SingleThreadedExecutor()  # before the node: it cannot be created after a signal during the node's start
        node = make_node()
    except Exception as error:
        if initialized and not rclpy.ok():  # a signal has shut the context down, and any call may fail after that
            return ExitCode.SUCCESS
        if not isinstance(error, (EnetError, *_REFUSALS_OF_ROS)):
            raise
        text = f'unknown ROS argument: {error}' if isinstance(error, UnknownROSArgsError) else one_line(error)
        rclpy.logging.get_logger('enet').fatal(text)
        _shut_down()
        return ExitCode.USAGE if isinstance(error, (UsageError, *_REFUSALS_OF_ROS)) else ExitCode.ERROR
    try:
        executor.add_node(node)
        while rclpy.ok():
            # not spin(): a signal just before it waits does not wake it (rclpy 7.1.6, one stop in ten)
            executor.spin_once(timeout_sec=1.0)
    except ExternalShutdownException:
        pass
    except RCLError:
        if rclpy.ok():
            raise  # otherwise a signal has shut the context down
    finally:
        node.stop_worker()
        print(node.counts(), file=sys.stderr)  # the context is shut down by now, and the ROS log with it
        node.destroy_node()
        _shut_down()
    return ExitCode.SUCCESS


if __name__ == '__main__':
    sys.exit(main())

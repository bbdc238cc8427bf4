"""The segmentation node: camera images in, label images and overlays out."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException, NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from enet_ros.engines.base import BACKENDS, PRECISIONS, EngineSpec
from enet_ros.errors import EnetError
from enet_ros.images.messages import ImageReader
from enet_ros.images.overlay import blend
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.ros.log import forward_log
from enet_ros.ros.messages import to_message
from enet_ros.segmenter import OUTPUT_SIZES, Segmenter

COMPLAINT_INTERVAL = 5.0
"""Seconds after which an error that goes on is logged again."""
RCLError = rclpy_implementation.RCLError
TRANSPORTS = {'raw': Image, 'compressed': CompressedImage}
RELIABILITIES = {
    'best_effort': QoSReliabilityPolicy.BEST_EFFORT,
    'reliable': QoSReliabilityPolicy.RELIABLE,
}


class SegmentNode(Node):
    """Segments the newest camera image, always.

    The subscription only keeps the newest message; one worker thread owns the segmenter and takes it from there, so images
    that come faster than they can be segmented are overwritten, counted, and never queued. What DDS overwrites before this
    process has taken it is not counted.
    """

    def __init__(self) -> None:
        """Read the parameters, make the segmenter and subscribe.

        Raises:
            EnetError: a parameter cannot be used; says why.

        """
        super().__init__('enet')
        forward_log(self.get_logger())
        self._declare_parameters()
        spec = EngineSpec(
            backend=self._text('backend'),
            precision=self._text('precision'),
            width=self.get_parameter('width').get_parameter_value().integer_value,
            height=self.get_parameter('height').get_parameter_value().integer_value,
        )
        model = read_model(Path(self._text('model') or default_model()))
        self._segmenter = Segmenter(
            model, spec, classes=_class_names(self._text('classes')), output_size=self._text('output_size')
        )
        self._alpha = self.get_parameter('overlay_alpha').get_parameter_value().double_value
        self._palette = self._segmenter.labels.palette()
        self._reader = ImageReader()
        self.add_on_set_parameters_callback(self._change_parameters)

        self._labels_publisher = self.create_publisher(Image, '~/labels', 1)
        self._overlay_publisher = self.create_publisher(Image, '~/overlay', 1)
        transport = self._choice('image_transport', TRANSPORTS)
        reliability = self._choice('image_reliability', RELIABILITIES)
        image_qos = QoSProfile(depth=1, reliability=RELIABILITIES[reliability])

        self._newest: Image | CompressedImage | None = None
        self._arrived = threading.Condition()
        self._stopping = False
        self._segmented = self._overwritten = 0
        self._complained: dict[str, float] = {}
        # as image_transport does: remapping "image" moves the compressed topic, too
        topic = 'image' if transport == 'raw' else self.resolve_topic_name('image') + '/compressed'
        subscription = self.create_subscription(TRANSPORTS[transport], topic, self._keep_newest, image_qos)
        engine = self._segmenter.engine
        spec = engine.spec
        self.get_logger().info(
            f'segmenting {subscription.topic_name} with {self._segmenter.model.path.name}: '
            f'{len(self._segmenter.labels)} classes at {spec.width}x{spec.height}, '
            f'{spec.backend} on {engine.device} in {spec.precision}'
        )
        # started last, when nothing can fail any more: nobody would stop it
        self._worker = threading.Thread(target=self._work, name='segment', daemon=True)
        self._worker.start()

    def stop_worker(self) -> None:
        """Let the worker finish its image and end; the publishers must live until then."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._worker.join()

    def counts(self) -> str:
        """Return what became of the images, for the log."""
        return f'segmented {self._segmented} images, {self._overwritten} more were overwritten by newer ones'

    def _declare_parameters(self) -> None:
        def declare(name: str, default: str | int | float, description: str, constraint: str = '', *,
                    at_run_time: bool = False, integer: IntegerRange | None = None,
                    floating: FloatingPointRange | None = None) -> None:
            self.declare_parameter(name, default, ParameterDescriptor(
                description=description,
                additional_constraints=constraint,
                read_only=not at_run_time,
                integer_range=[integer] if integer else [],
                floating_point_range=[floating] if floating else [],
            ))

        def one_of(choices: Iterable[str]) -> str:
            return 'one of ' + ', '.join(choices)

        side = IntegerRange(from_value=0, to_value=16384, step=8)
        declare('model', '', 'model file (.safetensors); empty = the CamVid model of the package')
        declare('backend', 'auto', 'engine that runs the network', one_of(BACKENDS))
        declare('precision', 'auto', 'type that the engine computes in', one_of(PRECISIONS))
        declare('width', 0, "network width in pixels, a multiple of 8; 0 = the model's", integer=side)
        declare('height', 0, "network height in pixels, a multiple of 8; 0 = the model's", integer=side)
        declare('classes', '', 'names of the classes to report, separated by commas, others become 255; empty = all',
                at_run_time=True)
        declare('output_size', 'input', 'size of the labels: that of the camera image, or the network\'s',
                one_of(OUTPUT_SIZES), at_run_time=True)
        declare('image_transport', 'raw', 'type of the camera topic', one_of(TRANSPORTS))
        declare('image_reliability', 'best_effort', 'reliability that is asked of the camera topic', one_of(RELIABILITIES))
        declare('overlay_alpha', 0.5, 'share of the class colours in the overlay',
                at_run_time=True, floating=FloatingPointRange(from_value=0.0, to_value=1.0))

    def _text(self, name: str) -> str:
        text: str = self.get_parameter(name).get_parameter_value().string_value
        return text

    def _choice(self, name: str, choices: dict[str, object]) -> str:
        if (value := self._text(name)) not in choices:
            raise EnetError(f'{name} "{value}" is unknown: choose from {", ".join(choices)}')
        return value

    def _change_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Take over what can change while running, all of it or nothing, or refuse it with the reason."""
        values = {parameter.name: parameter.value for parameter in parameters}
        classes = _class_names(values['classes']) if 'classes' in values else None
        try:
            self._segmenter.configure(classes, values.get('output_size'))
        except EnetError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._alpha = values.get('overlay_alpha', self._alpha)
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
                self._complain(f'image refused: {error}')
            except Exception as error:  # whatever one image does, the next may be fine: a camera must not stop a robot
                if rclpy.ok():  # else it failed because the node is being stopped
                    self._complain(f'image failed: {error!r}')

    def _complain(self, text: str) -> None:
        """Log an error: at once when its cause is a new one, else every few seconds."""
        now, cause = time.monotonic(), re.sub(r'\d+', '#', text)  # such as the bytes of this one image
        if now - self._complained.get(cause, -math.inf) > COMPLAINT_INTERVAL:
            self._complained[cause] = now
            self.get_logger().error(text)

    def _segment(self, message: Image | CompressedImage) -> None:
        read = self._reader.read_compressed if isinstance(message, CompressedImage) else self._reader.read
        image, channels = read(message)
        labels = self._segmenter.segment(image, channels).labels
        self._labels_publisher.publish(to_message(labels, 'mono8', message.header))
        self._segmented += 1
        if self._overlay_publisher.get_subscription_count():
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if channels == 'bgr' else image
            overlay = blend(rgb, labels, self._palette, self._alpha)
            self._overlay_publisher.publish(to_message(overlay, 'rgb8', message.header))


def _class_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())


def _shut_down() -> None:
    with suppress(RCLError):  # the shutdown that a signal brings may come between its question and its act
        rclpy.try_shutdown()


def main() -> int:
    """Run the node until it is interrupted; return 1 when it cannot start, 2 for arguments that ROS does not take."""
    logger = rclpy.logging.get_logger('enet')
    initialized = False
    try:
        rclpy.init()
        initialized = True
        executor = SingleThreadedExecutor()  # first: it cannot be made any more when a signal came while the model was read
        node = SegmentNode()
    except (InvalidParameterTypeException, InvalidParameterValueException, NameValidationException, RCLError) as error:
        if initialized and not rclpy.ok():  # by a signal while it was starting
            return 0
        logger.fatal(' '.join(str(error).split()))
        _shut_down()
        return 2
    except KeyboardInterrupt:
        _shut_down()
        return 0
    except EnetError as error:
        logger.fatal(str(error))
        _shut_down()
        return 1
    try:
        executor.add_node(node)
        while rclpy.ok():
            # not spin(): a signal that comes just before it waits does not wake it (rclpy 7.1.6, one stop in ten)
            executor.spin_once(timeout_sec=1.0)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        if rclpy.ok():
            raise  # else a signal ended the context meanwhile
    finally:
        # a second one, of an impatient user or of launch, must not break off what is left to do
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node.stop_worker()
        print(node.counts(), file=sys.stderr)  # the context is down by now, and logging with it
        node.destroy_node()
        _shut_down()
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""The table of the node's parameters. The node and the launch file are made from it; a test checks the other copies.

The other copies are `config/segment.yaml` and the table in `docs/node.md`. This module does not import rclpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from enet_ros.engines.base import BACKENDS, PRECISIONS
from enet_ros.errors import UsageError, quoted
from enet_ros.images.messages import MAX_PIXELS
from enet_ros.images.resize import RESIZE_MODES
from enet_ros.network.architecture import SIZE_MULTIPLE
from enet_ros.segmenter import OUTPUT_SIZES

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')
LARGEST_SIDE = 16384
"""Largest width and height of the network, in pixels."""


class Changes(Enum):
    """When a parameter can change."""

    RUN_TIME = 'any time'
    UNCONFIGURED = 'unconfigured'
    NEVER = 'start only'


@dataclass(frozen=True)
class Range:
    """The values a number may take."""

    minimum: int | float
    maximum: int | float
    step: int = 0
    """Distance between allowed values, counted from the minimum; 0 = any value."""

    def __contains__(self, value: int | float) -> bool:
        """Return whether `value` is allowed."""
        return self.minimum <= value <= self.maximum and not (self.step and (value - self.minimum) % self.step)

    def __str__(self) -> str:
        """Return the allowed values as text."""
        step = f' in steps of {self.step}' if self.step else ''
        return f'{self.minimum} to {self.maximum}{step}'


@dataclass(frozen=True)
class NodeParameter:
    """One parameter of the node."""

    name: str
    default: str | int | float | bool
    """Also sets the type: a float parameter takes whole numbers, too."""
    description: str
    """One sentence without a full stop."""
    choices: tuple[str, ...] = ()
    """The allowed texts; empty = any."""
    range: Range | None = None
    """The allowed numbers; None = any."""
    changes: Changes = Changes.UNCONFIGURED
    """When it can change."""

    @property
    def type(self) -> type[str] | type[int] | type[float] | type[bool]:
        """Return the type of its values."""
        return type(self.default)

    @property
    def default_text(self) -> str:
        """Return the default as written in YAML and on the command line."""
        return str(self.default).lower() if self.type is bool else str(self.default)

    @property
    def constraint(self) -> str:
        """Return the allowed values as text: empty = any."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.type is bool:
            return 'true or false'
        return '' if self.range is None else str(self.range)

    @property
    def help(self) -> str:
        """Return the description and the allowed values as text."""
        return f'{self.description} ({self.constraint})' if self.constraint else self.description

    def check(self, value: object) -> None:
        """Check a value.

        Raises:
            UsageError: the value has the wrong type or is not allowed.

        """
        types = (int, float) if self.type is float else (self.type,)
        # bool is a subclass of int, but not for ROS
        if not isinstance(value, types) or isinstance(value, bool) != (self.type is bool):
            kind = {str: 'text', int: 'a whole number', float: 'a number', bool: 'true or false'}[self.type]
            raise UsageError(f'{self.name} is {value!r:.40}: must be {kind}')
        if self.choices and value not in self.choices:
            raise UsageError(f'{self.name} {quoted(str(value))} is unknown: choose from {", ".join(self.choices)}')
        if self.range is not None and isinstance(value, (int, float)) and value not in self.range:
            raise UsageError(f'{self.name} is {value}: must be from {self.range}')


_SIDE = Range(0, LARGEST_SIDE, SIZE_MULTIPLE)

PARAMETERS = (
    NodeParameter('model', '', 'Model file (.safetensors); empty = the CamVid model of the package'),
    NodeParameter('backend', 'auto', 'Backend that runs the network; auto = the fastest one that is installed and has its '
                  'hardware', BACKENDS),
    NodeParameter('precision', 'auto', 'Number type of the network; auto = fp16 on a GPU, bf16 with OpenVINO on a CPU that '
                  'has it, else fp32', PRECISIONS),
    NodeParameter('width', 0, 'Width of the network in pixels; 0 = the width the model was trained at', range=_SIDE),
    NodeParameter('height', 0, 'Height of the network in pixels; 0 = the height the model was trained at', range=_SIDE),
    NodeParameter('resize_mode', 'stretch', 'How an image is fitted to the network: distorted (stretch), whole with padding '
                  '(letterbox), or its centre (crop), outside of which labels are 255', RESIZE_MODES),
    NodeParameter('threads', 0, 'Number of CPU threads of the network; 0 = all cores', range=Range(0, 1024)),
    NodeParameter('classes', '', 'Names of the classes to report, separated by commas; the others become 255; empty = all',
                  changes=Changes.RUN_TIME),
    NodeParameter('output_size', 'input', 'Size of the outputs: that of the camera image (input) or of the network',
                  OUTPUT_SIZES, changes=Changes.RUN_TIME),
    NodeParameter('overlay_alpha', 0.5, 'Share of the class colours in the overlay: 0 = camera image only, 1 = colours only',
                  range=Range(0, 1), changes=Changes.RUN_TIME),
    NodeParameter('cameras', '', 'Names of several cameras, separated by commas: camera NAME is read from NAME/image; '
                  'empty = one camera, read from image'),
    NodeParameter('image_transport', 'raw', 'Transport of the camera topic', TRANSPORTS),
    NodeParameter('image_reliability', 'best_effort', 'Reliability the node requests from the camera topic', RELIABILITIES),
    NodeParameter('max_pixels', MAX_PIXELS, 'Largest number of pixels of an image; larger ones are refused before they are '
                  'decoded', range=Range(1, 2**31 - 1)),
    NodeParameter('lazy', True, 'Segment only while something subscribes to an output'),
    NodeParameter('lazy_subscription', False, 'Also subscribe to the camera only while something subscribes to an output'),
    NodeParameter('image_timeout', 2.0, 'Seconds without an image after which the diagnostics warn', range=Range(0.1, 3600)),
    NodeParameter('max_image_age', 1.0, 'Seconds from the stamp of an image to its arrival above which the diagnostics '
                  'warn; 0 = no warning', range=Range(0, 3600)),
    NodeParameter('min_sharpness', 0.0, 'Sharpness of an image below which the diagnostics warn of blur; 0 = no warning',
                  range=Range(0, 1_000_000)),
    NodeParameter('autostart', True, 'Configure and activate at start; false = wait for lifecycle transitions',
                  changes=Changes.NEVER),
)

"""The table of the node's parameters. The node and the launch file are made from it; a test checks the other copies.

The other copies are `config/segment.yaml` and the table in `docs/node.md`. This module does not import rclpy.
"""

from __future__ import annotations

from dataclasses import dataclass

from enet_ros.engines.base import BACKENDS, PRECISIONS
from enet_ros.errors import UsageError, quoted
from enet_ros.network.architecture import SIZE_MULTIPLE
from enet_ros.segmenter import OUTPUT_SIZES

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')
_LARGEST_SIDE = 16384


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
    default: str | int | float
    """Also sets the type: a float parameter takes whole numbers, too."""
    description: str
    """One sentence without a full stop."""
    choices: tuple[str, ...] = ()
    """The allowed texts; empty = any."""
    range: Range | None = None
    """The allowed numbers; None = any."""
    at_run_time: bool = False
    """Whether it can change while the node runs."""

    @property
    def type(self) -> type[str] | type[int] | type[float]:
        """Return the type of its values."""
        return type(self.default)

    @property
    def constraint(self) -> str:
        """Return the allowed values as text: empty = any."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
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
        if not isinstance(value, types) or isinstance(value, bool):  # bool is a subclass of int, but not for ROS
            kind = {str: 'text', int: 'a whole number', float: 'a number'}[self.type]
            raise UsageError(f'{self.name} is {value!r}: must be {kind}')
        if self.choices and value not in self.choices:
            raise UsageError(f'{self.name} {quoted(str(value))} is unknown: choose from {", ".join(self.choices)}')
        if self.range is not None and isinstance(value, (int, float)) and value not in self.range:
            raise UsageError(f'{self.name} is {value}: must be from {self.range}')


_SIDE = Range(0, _LARGEST_SIDE, SIZE_MULTIPLE)

PARAMETERS = (
    NodeParameter('model', '', 'Model file (.safetensors); empty = the CamVid model of the package'),
    NodeParameter('backend', 'auto', 'Backend that runs the network; auto = the fastest one that is installed and has its '
                  'hardware', BACKENDS),
    NodeParameter('precision', 'auto', 'Number type of the network; auto = fp16 on a GPU, bf16 with OpenVINO on a CPU that '
                  'has it, else fp32', PRECISIONS),
    NodeParameter('width', 0, 'Width of the network in pixels; 0 = the width the model was trained at', range=_SIDE),
    NodeParameter('height', 0, 'Height of the network in pixels; 0 = the height the model was trained at', range=_SIDE),
    NodeParameter('classes', '', 'Names of the classes to report, separated by commas; the others become 255; empty = all',
                  at_run_time=True),
    NodeParameter('output_size', 'input', 'Size of the labels: that of the camera image (input) or of the network',
                  OUTPUT_SIZES, at_run_time=True),
    NodeParameter('image_transport', 'raw', 'Transport of the camera topic', TRANSPORTS),
    NodeParameter('image_reliability', 'best_effort', 'Reliability the node requests from the camera topic', RELIABILITIES),
    NodeParameter('overlay_alpha', 0.5, 'Share of the class colours in the overlay: 0 = camera image only, 1 = colours only',
                  range=Range(0, 1), at_run_time=True),
)

"""Command-line arguments that several subcommands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from enet_ros.engines.base import BACKENDS, PRECISIONS, EngineSpec
from enet_ros.errors import quoted
from enet_ros.images.resize import RESIZE_MODES
from enet_ros.network.architecture import SIZE_MULTIPLE, describe_sizes, is_valid_size
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.segmenter import Segmenter

if TYPE_CHECKING:
    # argparse has no public name for the result of add_subparsers()
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `make_segmenter` reads."""
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE',
                        help='model file (default: the CamVid model of the package)')
    parser.add_argument('--backend', choices=BACKENDS, default='auto', help='runtime of the network')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='data type of the network')
    parser.add_argument('--threads', type=natural_number, default=0, metavar='N',
                        help='CPU threads of the network; 0 = all cores (default)')
    parser.add_argument('--size', type=size, default=(0, 0), metavar='WxH',
                        help=f'network size in pixels, multiples of {SIZE_MULTIPLE} (default: that of the model)')
    parser.add_argument('--resize-mode', choices=RESIZE_MODES, default='stretch',
                        help='how images are fitted to the network: distorted (stretch, default), whole with padding '
                             '(letterbox), or only their centre (crop): labels outside it are 255')


def make_segmenter(arguments: argparse.Namespace, classes: Sequence[str] = ()) -> Segmenter:
    """Create the segmenter for the arguments of `add_segmenter_arguments`.

    Raises:
        EnetError: the model cannot be read, the engine cannot be created, or a class is unknown.

    """
    spec = engine_spec(arguments)
    return Segmenter(read_model(arguments.model), spec, classes=classes, resize_mode=arguments.resize_mode)


def engine_spec(arguments: argparse.Namespace, *, confidence: bool = False) -> EngineSpec:
    """Return the engine that the arguments of `add_segmenter_arguments` ask for."""
    backend, precision, (width, height) = arguments.backend, arguments.precision, arguments.size
    return EngineSpec(backend, precision, width, height, confidence=confidence, threads=arguments.threads)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the results as JSON')


def size(text: str) -> tuple[int, int]:
    """Read a network size, such as 640x360, as width and height."""
    try:
        width, height = (int(side) for side in text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a size; use WxH, for example 640x360') from None
    if not is_valid_size((width, height)):
        raise argparse.ArgumentTypeError(f'{text}: {describe_sizes((width, height))}')
    return width, height


def positive_integer(text: str) -> int:
    """Read an integer that is at least 1."""
    return _integer(text, 1)


def natural_number(text: str) -> int:
    """Read an integer that is at least 0."""
    return _integer(text, 0)


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a number above 0')
    return number


def natural_seconds(text: str) -> float:
    """Read a finite number of seconds that is at least 0."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a number of seconds of at least 0')
    return number


def fraction(text: str) -> float:
    """Read a number in [0, 1]."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a number in [0, 1]')
    return number


def share(text: str) -> float:
    """Read a number in (0, 1)."""
    number = _number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a share: use a number in (0, 1), for example 0.2')
    return number


def percent(text: str) -> int:
    """Read an integer from 1 to 100."""
    number = _integer(text, 1)
    if number > 100:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not an integer from 1 to 100')
    return number


def _integer(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not an integer of at least {least}')
    return int(text)


def _number(text: str) -> float:
    """Return NaN for what is not a number: it fails every comparison."""
    try:
        return float(text)
    except ValueError:
        return math.nan

"""Arguments that several subcommands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from enet_ros.engines.base import BACKENDS, PRECISIONS, EngineSpec
from enet_ros.network.architecture import SIZE_MULTIPLE
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model
from enet_ros.segmenter import Segmenter

if TYPE_CHECKING:
    # argparse has no public name for what add_subparsers() returns
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a segmenter is made of."""
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE',
                        help='model file (default: the CamVid model of the package)')
    parser.add_argument('--backend', choices=BACKENDS, default='auto', help='engine that runs the network')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='type that the engine computes in')
    parser.add_argument('--size', type=size, default=(0, 0), metavar='WxH',
                        help="network size in pixels, multiples of 8 (default: the model's)")


def make_segmenter(arguments: argparse.Namespace, classes: tuple[str, ...] = ()) -> Segmenter:
    """Make the segmenter of `add_segmenter_arguments`; raises EnetError as `Segmenter` does."""
    width, height = arguments.size
    spec = EngineSpec(arguments.backend, arguments.precision, width, height)
    return Segmenter(read_model(arguments.model), spec, classes=classes)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results for machines, too')


def size(text: str) -> tuple[int, int]:
    """Read a network size, such as 640x360, as width and height."""
    try:
        width, height = (int(side) for side in text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no size: write it like 640x360') from None
    if min(width, height) < SIZE_MULTIPLE or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
        raise argparse.ArgumentTypeError(f'{text}: width and height must be positive multiples of {SIZE_MULTIPLE}')
    return width, height


def positive_integer(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number from 1 on')
    return int(text)


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float('inf'):
        raise argparse.ArgumentTypeError(f'"{text}" is no number above 0')
    return number

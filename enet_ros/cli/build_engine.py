"""`enet build-engine`: build an engine ahead of time, so that the node starts without delay."""

from __future__ import annotations

import argparse
import logging
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.cli.arguments import add_segmenter_arguments, positive_integer
from enet_ros.engines.base import PRELU_FORMS, BuildOptions, EngineSpec
from enet_ros.engines.cache import check_cache
from enet_ros.engines.create import backends_by_speed, create_engine
from enet_ros.engines.int8 import MAXIMUM_IMAGES, check_packages
from enet_ros.errors import IncompleteInputError, UsageError
from enet_ros.exit_codes import ExitCode
from enet_ros.images.channels import to_rgb
from enet_ros.images.resize import place
from enet_ros.images.sources import open_frames
from enet_ros.network.model_file import read_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

log = logging.getLogger(__name__)


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'build-engine', help='build an engine ahead of time',
        description='Build the engine of a model for one network size and precision on this machine, check it against '
                    'PyTorch and put it into the cache. The node and all other commands use it from there.',
    )
    add_segmenter_arguments(parser)
    parser.add_argument('--calibration', type=Path, metavar='PATH',
                        help='images to calibrate precision int8 with: a folder, a video, a bag, or a prepared dataset or '
                             'split')
    tensorrt, defaults = parser.add_argument_group('options of backend tensorrt'), BuildOptions()
    tensorrt.add_argument('--force', action='store_true',
                          help='build the engine even if the cache holds it; any of the following options does, too')
    tensorrt.add_argument('--workspace', type=positive_integer, default=defaults.workspace, metavar='MIB',
                          help='maximum GPU memory in MiB for intermediate results within a layer; on a Jetson it is the '
                               f"system's memory (default: {defaults.workspace})")
    tensorrt.add_argument('--optimization-level', type=int, choices=range(6), default=defaults.optimization_level,
                          help=f'0 builds fastest, 5 tries most kernels (default: {defaults.optimization_level})')
    tensorrt.add_argument('--prelu', choices=PRELU_FORMS, default=defaults.prelu,
                          help='each PReLU as one layer or as a maximum, which TensorRT may fuse with its neighbours '
                               f'(default: {defaults.prelu}); for int8 it holds with --calibration')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build the engine, or print that the backend has nothing to build."""
    if arguments.calibration and arguments.precision != 'int8':
        raise UsageError(f'--calibration is for --precision int8, not {arguments.precision}')
    model = read_model(arguments.model)
    backend = backends_by_speed()[0] if arguments.backend == 'auto' else arguments.backend
    spec = EngineSpec(backend, arguments.precision, *arguments.size).resolve(model)
    if backend != 'tensorrt' and arguments.precision != 'int8':
        print(f'backend {backend} has nothing to build ahead of time in {arguments.precision}')
        return ExitCode.SUCCESS
    check_cache()  # before the build, which takes long
    if arguments.calibration:
        check_packages()  # before images are read
    images = read_calibration(arguments.calibration, spec.size, arguments.resize_mode) if arguments.calibration else ()
    options = BuildOptions(arguments.workspace, arguments.optimization_level, arguments.prelu)
    rebuild = arguments.force or options != BuildOptions()
    engine = create_engine(model, spec, calibration=images, rebuild=rebuild, options=options)
    print(f'{engine.spec.backend} {engine.spec.precision} at {spec.width}x{spec.height} is ready')
    return ExitCode.SUCCESS


def read_calibration(path: Path, size: tuple[int, int], resize_mode: str = 'stretch') -> list[NDArray[np.uint8]]:
    """Return images (H x W x 3, uint8, RGB), fitted to `size` (width, height) and spread evenly over what `path` holds.

    `path` is a folder of images, a video, a bag, a split of a prepared dataset, or such a dataset, whose training split is
    used.

    Raises:
        EnetError: there are no images, or one cannot be read.

    """
    folders = (path / 'train' / 'images', path / 'images')
    frames = open_frames(next(filter(Path.is_dir, folders), path))
    step = max(1, -(-frames.count // MAXIMUM_IMAGES))
    # a video may have more frames than its header says
    chosen = islice((frame for number, frame in enumerate(frames) if number % step == 0), MAXIMUM_IMAGES)
    images: list[NDArray[np.uint8]] = []
    try:
        for frame in chosen:
            image = frame.decode()
            images.append(to_rgb(place((image.shape[1], image.shape[0]), size, resize_mode).to_network(image), 'bgr'))
    except IncompleteInputError as error:
        if not images:
            raise
        log.warning('%s', error)
    return images

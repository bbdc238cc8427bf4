"""`enet build-engine`: make an engine ahead of time, so that the node starts with it at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.cli.arguments import add_segmenter_arguments
from enet_ros.engines.cache import cache_folder
from enet_ros.engines.calibration import quantized_path
from enet_ros.engines.engine import Engine, EngineError, backends_by_speed, create_engine, missing_packages
from enet_ros.errors import EnetError
from enet_ros.files import check_writable
from enet_ros.network.model_file import ModelFile, read_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'build-engine', help='build an engine ahead of time',
        description='Build the engine of a model for one network size and precision on this machine, hold it against '
                    'PyTorch and put it into the cache, where every other command and the node find it.',
    )
    add_segmenter_arguments(parser)
    parser.add_argument('--calibration', type=Path, metavar='PATH',
                        help='images to calibrate precision int8 with: a folder, a prepared dataset or one of its splits')
    parser.add_argument('--force', action='store_true', help='build also what is already in the cache (tensorrt)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build the engine, or say that the backend has none to build."""
    if arguments.calibration and arguments.precision != 'int8':
        raise EnetError(f'--calibration is for --precision int8, not {arguments.precision}')
    model = read_model(arguments.model)
    size = arguments.size if arguments.size != (0, 0) else model.info.training_size
    backend = backends_by_speed()[0] if arguments.backend == 'auto' else arguments.backend
    if backend != 'tensorrt' and arguments.precision != 'int8':
        print(f'backend {backend} has nothing to build ahead of time in {arguments.precision}')
        return 0
    check_writable(cache_folder() / 'engine')  # before the build, which takes long
    engine = create_engine(
        model, size, backend, arguments.precision, calibration=arguments.calibration, force=arguments.force
    )
    if backend == 'openvino':  # tensorrt's engines do so themselves
        _verify(engine, model)
    print(f'{engine.backend} {engine.precision} at {size[0]}x{size[1]} is ready')
    return 0


def _verify(engine: Engine, model: ModelFile) -> None:
    """Hold an engine against PyTorch where that is installed; a graph that fails is removed, else all would use it."""
    if missing_packages('torch'):
        print('not held against PyTorch, which is not installed: "enet evaluate" tells what the precision costs')
        return
    from enet_ros.engines.verification import verify

    try:
        share = verify(engine, model)
    except EngineError as error:
        quantized_path(model, engine.size, engine.backend).unlink(missing_ok=True)
        raise EngineError(f'{error}; the graph is removed: calibrate with more images, of what the camera sees') from error
    print(f'{100 * share:.2f} % of the pixels of the check images get the label that PyTorch gives')

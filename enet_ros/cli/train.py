"""`enet train`: from a prepared dataset to a model file."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.datasets.prepared import read_dataset
from enet_ros.errors import EnetError, TrainingStopped
from enet_ros.exit_codes import ExitCode
from enet_ros.network.model_file import read_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'train', help='train a network on a prepared dataset',
        description='Train a network by a recipe. Write the model file DIR/model.safetensors, its graph DIR/model.onnx for '
                    'robots without PyTorch, its results on the validation samples in DIR/report, and DIR/curves.png. '
                    'Ctrl-C saves a checkpoint and exits with 130. Under torchrun, the processes share the work.',
    )
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset, see "enet convert"')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for checkpoints, logs and the model')
    parser.add_argument('--config', type=Path, metavar='FILE',
                        help="recipe (default: the package's recipe for this dataset)")
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', dest='changes',
                        help='change the recipe, for example seed=2 or stages.decoder.epochs=10; may be repeated')
    parser.add_argument('--weights', type=Path, metavar='FILE',
                        help='start with the weights of this model file, except the last layer if the classes differ')
    parser.add_argument('--resume', action='store_true',
                        help='continue from the last checkpoints in DIR; with --config, start a run if there is none')
    parser.add_argument('--compile', action='store_true',
                        help='fuse operations with torch.compile: faster steps, slower start; needs a C++ compiler on CPUs')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and print the results on the validation samples."""
    packages = ('torch', 'lightning', 'tensorboard', 'dacite', 'onnx')
    if missing := [package for package in packages if find_spec(package) is None]:
        raise EnetError(f'training needs {", ".join(missing)}: pip install {" ".join(missing)}')
    from enet_ros.training.loop import train
    from enet_ros.training.machine import is_main_process
    from enet_ros.training.recipe import read_recipe
    from enet_ros.training.run_folder import find_recipe, find_weights, is_run

    out, resume = Path(os.path.expanduser(arguments.out)), arguments.resume  # shells leave "~" in --out=~/runs alone
    dataset = read_dataset(arguments.data)
    recipe = read_recipe(find_recipe(out, arguments.config, dataset, resume), arguments.changes)
    weights = arguments.weights or (find_weights(out) if resume else None)
    try:
        finished = train(dataset, recipe, out, resume, arguments.compile, read_model(weights) if weights else None)
    except KeyboardInterrupt:
        remedy = 'add --resume to continue' if is_run(out) else 'run the command again'
        raise TrainingStopped(f'stopped by a signal: {remedy}') from None
    if is_main_process():
        if finished.evaluation:
            print(f'{finished.heading}\n{finished.evaluation.table()}')
        print(finished.model)
    return ExitCode.SUCCESS

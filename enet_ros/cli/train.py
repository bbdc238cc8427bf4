"""`enet train`: from a prepared dataset to a model file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.datasets.prepared import read_dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.onnx_graph import export_graph
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import evaluate, trained_on
from enet_ros.evaluation.report import write_report
from enet_ros.network.model_file import read_model, write_model
from enet_ros.resources import share_folder
from enet_ros.segmenter import Segmenter

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'train', help='train a network on a prepared dataset',
        description='Train by a recipe and write DIR/model.safetensors, with its results on the validation samples, '
                    'DIR/model.onnx, its graph for robots without PyTorch, and in DIR/report and DIR/curves.png what the '
                    'run came to. Under torchrun the processes share the work.',
    )
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset of "enet convert"')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for checkpoints, logs and the model')
    parser.add_argument('--config', type=Path, metavar='FILE', help='recipe (default: the package\'s for this dataset)')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', dest='changes',
                        help='change the recipe, such as seed=2 or stages.decoder.epochs=10; may be repeated')
    parser.add_argument('--weights', type=Path, metavar='FILE',
                        help='begin with the weights of this model file; its last layer only if it has the same classes')
    parser.add_argument('--resume', action='store_true',
                        help='go on from the last checkpoints in DIR; with --config, begin where there are none')
    parser.add_argument('--compile', action='store_true',
                        help='fuse operations with torch.compile: faster steps after a slow start; CPUs need a C++ compiler')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, measure on what was not trained on, and write the model file, its graph and the report."""
    packages = ('torch', 'lightning', 'torchmetrics', 'tensorboard', 'dacite', 'onnx', 'matplotlib')
    if missing := [package for package in packages if find_spec(package) is None]:
        raise EnetError(f'training needs {", ".join(missing)}: pip install {" ".join(missing)}')
    from enet_ros.evaluation.charts import draw_curves
    from enet_ros.training.data import choose_samples
    from enet_ros.training.history import read_history
    from enet_ros.training.loop import train
    from enet_ros.training.recipe import read_recipe
    from enet_ros.training.run_folder import begun_with, is_main_process

    dataset = read_dataset(arguments.data)
    config = arguments.config or share_folder() / 'config' / 'train' / f'{dataset.name}.yaml'
    own = arguments.out / 'recipe.yaml'
    if arguments.resume and arguments.config is None:
        config = own  # what was begun with, changes included
        if not own.is_file():
            raise EnetError(f'there is no run to resume in {arguments.out}: check --out, or begin one without --resume')
    if arguments.config is None and not config.is_file():
        raise EnetError(f'the package has no recipe for dataset "{dataset.name}": give one with --config, such as '
                        f'{config.with_name("finetune.yaml")} with --weights')
    recipe = read_recipe(config, arguments.changes)
    weights = arguments.weights
    if arguments.resume and weights is None:
        weights = begun_with(arguments.out)
    path = train(dataset, recipe, arguments.out, arguments.resume, arguments.compile, weights and read_model(weights))
    if not is_main_process():
        return 0
    draw_curves(arguments.out / 'curves.png', [read_history(arguments.out / stage.name) for stage in recipe.stages])
    _, validation = choose_samples(dataset, recipe)
    if validation:
        # float32 in PyTorch is the reference that every other engine is held against
        evaluation = evaluate(Segmenter(read_model(path), EngineSpec('torch', 'fp32')), validation)
        model = read_model(path)
        split = f'{", ".join(recipe.hold_out)} of {"+".join(recipe.splits)}' if recipe.hold_out else 'val'
        if trained_on(model.info, dataset, validation):  # by what it began with
            split += ' (trained on)'
        write_model(path, replace(model.info, metrics={split: evaluation.summary()}), model.weights)
        heading = f'{path.name} on {split} of {dataset.name}: {evaluation.images} images, torch fp32'
        write_report(arguments.out / 'report', heading, evaluation, {'model': str(path), 'split': split})
        print(f'{heading}\n{evaluation.table()}')
    export_graph(read_model(path), path.with_suffix('.onnx'))
    print(path)
    return 0

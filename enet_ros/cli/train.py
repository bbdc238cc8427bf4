"""`enet train`: from a prepared dataset to a model file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.datasets.prepared import read_dataset
from enet_ros.engines.onnx_graph import export_graph
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.network.model_file import read_model, write_model
from enet_ros.segmenter import Segmenter, SegmenterConfig
from enet_ros.share import share_folder

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'train', help='train ENet on a prepared dataset',
        description='Train by a recipe and write DIR/model.safetensors, with its results on the split val, and '
                    'DIR/model.onnx, its graph for robots without PyTorch.',
    )
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset of "enet convert"')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for checkpoints, logs and the model')
    parser.add_argument('--config', type=Path, metavar='FILE', help='recipe (default: the package\'s for this dataset)')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoints in DIR')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, measure on val and write the model file and its graph."""
    for package in ('torch', 'lightning', 'dacite', 'onnx'):
        if find_spec(package) is None:
            raise EnetError(f'training needs {package}: pip install torch lightning dacite onnx')
    from enet_ros.training.loop import train
    from enet_ros.training.recipe import read_recipe

    dataset = read_dataset(arguments.data)
    config = arguments.config or share_folder() / 'config' / 'train' / f'{dataset.name}.yaml'
    if arguments.config is None and not config.is_file():
        raise EnetError(f'the package has no recipe for dataset "{dataset.name}": give one with --config')
    path = train(dataset, read_recipe(config), arguments.out, arguments.resume)
    # float32 in PyTorch is the reference that every other engine is held against
    evaluation = evaluate(Segmenter(SegmenterConfig(path, 'torch', 'fp32')), dataset.samples('val'))
    model = read_model(path)
    write_model(path, replace(model.info, metrics={'val': evaluation.summary()}), model.weights)
    export_graph(read_model(path), path.with_suffix('.onnx'))
    print(f'{evaluation.table()}\n{path}')
    return 0

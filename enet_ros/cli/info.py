"""`enet info`: what a model file holds."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.cli.arguments import add_json_argument, write_json
from enet_ros.network.model_file import read_model

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser('info', help='show what a model file holds', description='Show what a model file holds.')
    parser.add_argument('model', type=Path, metavar='MODEL', help='model file (.safetensors)')
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the model file's description."""
    model = read_model(arguments.model)
    info = model.info
    count = sum(values.size for name, values in model.weights.items() if 'running_' not in name)
    print(f'model        {model.path}')
    print(f'sha256       {model.sha256}')
    print(f'architecture ENet, {count} parameters, ' + ', '.join(f'{k} {v}' for k, v in asdict(info.architecture).items()))
    print(f'trained on   {info.dataset} at {info.training_size[0]}x{info.training_size[1]}')
    print(f'input        RGB in [0, 1], mean {list(info.mean)}, std {list(info.std)}')
    print(f'licence      {info.license}')
    for number, (name, color) in enumerate(zip(info.labels.names, info.labels.colors)):
        print(f'class {number:<6} {name} {color}')
    for split, metrics in info.metrics.items():
        print(f'{split:<12} mean IoU {100 * metrics["mean_iou"]:.1f}, class average {100 * metrics["class_average"]:.1f}, '
              f'global {100 * metrics["global_accuracy"]:.1f} ({metrics["images"]} images)')
    if arguments.json:
        write_json(arguments.json, {
            'model': str(model.path), 'sha256': model.sha256, 'parameters': count, **asdict(info),
        })
    return 0

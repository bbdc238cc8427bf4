"""`enet info`: show the contents of a model file."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.cli.arguments import add_json_argument
from enet_ros.evaluation.charts import draw_slopes
from enet_ros.exit_codes import ExitCode
from enet_ros.files import write_json
from enet_ros.network.model_file import read_model
from enet_ros.network.slopes import prelu_slopes

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

FIGURES = {'mean_iou': 'mean IoU', 'class_average': 'class average', 'global_accuracy': 'global'}
"""Keys of a model file's metrics and their names in print."""


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser('info', help='show the contents of a model file',
                                 description='Show the contents of a model file.')
    parser.add_argument('model', type=Path, metavar='MODEL', help='model file (.safetensors)')
    parser.add_argument('--prelu-plot', type=Path, metavar='FILE',
                        help='plot the learned PReLU slopes by depth (.png, .svg or .pdf); needs matplotlib')
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the contents of the model file and write the requested files."""
    model = read_model(arguments.model)
    info = model.info
    count = sum(values.size for name, values in model.weights.items() if 'running_' not in name)
    print(f'model        {model.path}')
    print(f'sha256       {model.sha256}')
    print(f'architecture {count} parameters, ' + ', '.join(f'{k} {v}' for k, v in asdict(info.architecture).items()))
    print(f'trained on   {info.dataset} at {info.training_size[0]}x{info.training_size[1]}')
    for start in info.lineage():
        print(f'started from model {start["sha256"][:16]}, trained on {start["dataset"]}')
    print(f'input        RGB in [0, 1], mean {list(info.mean)}, std {list(info.std)}')
    print(f'licence      {info.license}')
    for number, (name, color) in enumerate(zip(info.labels.names, info.labels.colors)):
        print(f'class {number:<6} {name} {color}')
    for split, metrics in info.metrics.items():
        measured = {name: metrics.get(key) for key, name in FIGURES.items()}
        figures = (f'{name} {100 * value:.1f}' for name, value in measured.items() if isinstance(value, float))
        print(f'{split:<12} {", ".join(figures) or "not measured"}')
    slopes = prelu_slopes(model.weights)
    if arguments.json:
        write_json(arguments.json, {
            'model': str(model.path), 'sha256': model.sha256, 'parameters': count, **asdict(info),
            'slopes': [asdict(layer) for layer in slopes],
        })
    if arguments.prelu_plot:
        draw_slopes(arguments.prelu_plot, slopes)
    return ExitCode.SUCCESS

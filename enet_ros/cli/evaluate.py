"""`enet evaluate`: a model held against the ground truth of a prepared split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.cli.arguments import add_json_argument, add_segmenter_arguments, make_segmenter, write_json
from enet_ros.datasets.prepared import read_dataset
from enet_ros.evaluation.evaluate import check_labels, evaluate

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'evaluate', help='measure a model on a prepared split',
        description='Print IoU and accuracy of each class, their means and the global accuracy; void pixels do not count.',
    )
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset of "enet convert"')
    parser.add_argument('--split', default='val', metavar='NAME', help='train, val or test (default: val)')
    add_segmenter_arguments(parser)
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    dataset = read_dataset(arguments.data)
    samples = dataset.samples(arguments.split)
    segmenter = make_segmenter(arguments)
    check_labels(segmenter, dataset)
    evaluation = evaluate(segmenter, samples)
    engine = segmenter.engine
    print(f'{segmenter.model.path.name} on {arguments.split} of {dataset.name}: {evaluation.images} images at '
          f'{engine.size[0]}x{engine.size[1]}, {engine.backend} {engine.precision}\n{evaluation.table()}')
    if arguments.json:
        write_json(arguments.json, {
            'model': str(segmenter.model.path), 'sha256': segmenter.model.sha256, 'data': str(arguments.data),
            'split': arguments.split, 'backend': engine.backend, 'precision': engine.precision,
            'width': engine.size[0], 'height': engine.size[1],
            **evaluation.summary(), 'confusion': evaluation.confusion.tolist(),
        })
    return 0

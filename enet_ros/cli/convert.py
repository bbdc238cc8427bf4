"""`enet convert`: a published dataset to the prepared layout."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.datasets.camvid import convert_camvid

CONVERTERS = {'camvid': convert_camvid}

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'convert', help='convert a dataset to the prepared layout',
        description='Write DST/{train,val,test}/{images,labels} and DST/dataset.yaml.',
    )
    parser.add_argument('dataset', choices=CONVERTERS, help='which dataset SRC holds')
    parser.add_argument('source', type=Path, metavar='SRC', help='the folder as it was published')
    parser.add_argument('destination', type=Path, metavar='DST', help='folder for the prepared dataset')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert the dataset."""
    dataset = CONVERTERS[arguments.dataset](arguments.source, arguments.destination)
    counts = ', '.join(f'{len(dataset.samples(split))} {split}' for split in dataset.pixels)
    print(f'{dataset.name}: {counts} images with {len(dataset.labels)} classes in {arguments.destination}')
    return 0

"""`enet convert`: a published dataset, or one's own, to the prepared layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.cityscapes import find_cityscapes
from enet_ros.datasets.coco import find_coco
from enet_ros.datasets.folder import find_folder
from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.source import SourceDataset
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_prefix, by_share
from enet_ros.datasets.sunrgbd import find_sunrgbd
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import EnetError

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

Find: TypeAlias = Callable[[argparse.Namespace], SourceDataset]


def add_command(commands: Commands) -> None:
    """Add the subcommand and one of its own for each layout."""
    parser = commands.add_parser(
        'convert', help='convert a dataset to the prepared layout',
        description='Write DST/{train,val,test}/{images,labels} and DST/dataset.yaml. "enet convert DATASET --help" tells '
        'what SRC must hold. A conversion that was interrupted goes on where it was.',
    )
    datasets = parser.add_subparsers(title='datasets', metavar='DATASET', required=True)
    _add_dataset(
        datasets, 'camvid', lambda arguments: find_camvid(arguments.source), 'CamVid, 11 classes',
        'SRC holds train/ and trainannot/ and so on (480x360, from the SegNet tutorial), or 701_StillsRaw_full/ and '
        'LabeledApproved_full/ (960x720), or train/ and train_labels/ and so on (960x720, from Kaggle). These frames '
        "get SegNet's split and 11 classes, whatever folder they are in.",
    )
    cityscapes = _add_dataset(
        datasets, 'cityscapes', lambda arguments: find_cityscapes(arguments.source, arguments.coarse),
        'Cityscapes, 19 classes',
        'SRC holds leftImg8bit/ and gtFine/ or gtCoarse/. Test labels are void in what is published.',
    )
    cityscapes.add_argument('--coarse', action='store_true', help='labels of gtCoarse/; train_extra joins train')
    sunrgbd = _add_dataset(
        datasets, 'sunrgbd', lambda arguments: find_sunrgbd(arguments.source, _choice(arguments)),
        'SUN RGB-D, 37 classes',
        'SRC holds SUNRGBD-train_images/, SUNRGBD-test_images/ and sunrgbd_train_test_labels/, or SUNRGBD/ and '
        'SUNRGBDtoolbox/.',
    )
    _add_choice(sunrgbd, 'none, as published')
    for name, find, summary, description in (
        ('folder', find_folder, 'your own images and label PNGs',
         'SRC holds images/ and labels/, or train/ (val/, test/) with both in it; labels are PNGs of ids or of colours.'),
        ('labelme', find_labelme, 'your own images, annotated with labelme',
         "SRC, or its train/, val/ and test/, holds images and labelme's JSON files beside them."),
        ('coco', find_coco, "your own images, annotated in COCO's format",
         'SRC holds annotations/instances_*.json, or a folder with a JSON file for each split, and the images.'),
    ):
        own = _add_dataset(datasets, name, _with_classes(find), summary, description)
        own.add_argument('--classes', type=Path, required=True, metavar='FILE',
                         help='YAML file that says what the labels mean; docs/datasets.md has an example')
        _add_choice(own, f'{DEFAULT_SHARE} where SRC has no splits')


def run(arguments: argparse.Namespace) -> int:
    """Convert the dataset and print what came out."""
    skipped: list[EnetError] = []
    dataset = write_dataset(
        arguments.destination, arguments.find(arguments), arguments.link, skipped.append if arguments.skip_bad else None
    )
    for error in skipped:
        print(f'enet: skipped: {error}', file=sys.stderr)
    for name, count in zip(dataset.labels.names, dataset.pixels.get('train', ())):
        if count == 0:
            print(f'enet: train has no pixel of "{name}": if it should, check how the labels say so', file=sys.stderr)
    print(class_table(dataset))
    counts = ', '.join(f'{len(dataset.samples(split))} {split}' for split in dataset.pixels)
    print(f'{dataset.name}: {counts} images with {len(dataset.labels)} classes in {arguments.destination}'
          + (f'; {len(skipped)} skipped' if skipped else ''))
    return 0


def class_table(dataset: Dataset) -> str:
    """Return how many pixels each class has in each split, and their share in percent, as lines for a terminal."""
    width = max(len(name) for name in (*dataset.labels.names, 'class'))
    lines = [f'{"class":<{width}}' + ''.join(f'{split + " pixels":>16} {"%":>6}' for split in dataset.pixels)]
    for index, name in enumerate(dataset.labels.names):
        columns = dataset.pixels.values()
        cells = (f'{counts[index]:>16} {100 * counts[index] / max(1, sum(counts)):>6.2f}' for counts in columns)
        lines.append(f'{name:<{width}}' + ''.join(cells))
    return '\n'.join(lines)


def _add_dataset(
    datasets: Commands, name: str, find: Find, summary: str, description: str
) -> argparse.ArgumentParser:
    parser = datasets.add_parser(name, help=summary, description=description)
    parser.add_argument('source', type=Path, metavar='SRC', help='the folder as it was published or exported')
    parser.add_argument('destination', type=Path, metavar='DST', help='folder for the prepared dataset')
    parser.add_argument('--link', action='store_true', help='link to the images in SRC instead of copying them')
    parser.add_argument('--skip-bad', action='store_true',
                        help='leave out images that cannot be used, and name them, instead of stopping')
    parser.set_defaults(run=run, find=find)
    return parser


def _with_classes(find: Callable[[Path, Path, Choice | None], SourceDataset]) -> Find:
    return lambda arguments: find(arguments.source, arguments.classes, _choice(arguments))


def _add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--val-share', type=_share, metavar='S',
                       help=f'hold this share of the images, 0 to 1, out of train as val (default: {default})')
    group.add_argument('--val-prefix', metavar='P[,P...]',
                       help='hold the images whose names start so, such as those of one drive, out of train as val')


def _choice(arguments: argparse.Namespace) -> Choice | None:
    if arguments.val_prefix:
        return by_prefix(arguments.val_prefix.split(','))
    return by_share(arguments.val_share) if arguments.val_share else None


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no share: give a number between 0 and 1')
    return share

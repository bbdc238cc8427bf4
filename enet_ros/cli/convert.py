"""`enet convert`: convert a published dataset or own data to the prepared layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from enet_ros.cli.arguments import share
from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.cityscapes import find_cityscapes
from enet_ros.datasets.coco import find_coco
from enet_ros.datasets.folder import find_folder
from enet_ros.datasets.labelme import find_labelme
from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.source import SourceDataset
from enet_ros.datasets.splitting import DEFAULT_SHARE, Choice, by_prefix, by_share
from enet_ros.datasets.sunrgbd import find_sunrgbd
from enet_ros.datasets.voc import find_voc
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import EnetError, UsageError, printable
from enet_ros.exit_codes import ExitCode
from enet_ros.labels import parse_names

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

Find: TypeAlias = Callable[[argparse.Namespace], SourceDataset]


def add_command(commands: Commands) -> None:
    """Add the subcommand, which has a subcommand for each layout."""
    parser = commands.add_parser(
        'convert', help='convert a dataset to the prepared layout',
        description='Write DST/{train,val,test}/{images,labels} and DST/dataset.yaml. "enet convert DATASET --help" says '
        'what SRC must hold. Run an interrupted command again to resume it.',
    )
    datasets = parser.add_subparsers(title='datasets', metavar='DATASET', required=True)
    _add_dataset(
        datasets, 'camvid', lambda arguments: find_camvid(arguments.source), 'CamVid, 11 classes',
        'SRC must hold one of: train/, trainannot/, val/, valannot/, ... (480x360, from the SegNet tutorial); '
        '701_StillsRaw_full/ and LabeledApproved_full/ (960x720, the original); train/, train_labels/, val/, val_labels/, '
        "... (960x720, from Kaggle). Images of 960x720 get SegNet's 11 classes and split, whatever folder they are in.",
    )
    cityscapes = _add_dataset(
        datasets, 'cityscapes', lambda arguments: find_cityscapes(arguments.source, arguments.coarse),
        'Cityscapes, 19 classes',
        'SRC must hold leftImg8bit/, and gtFine/ or gtCoarse/. The published test labels are void.',
    )
    cityscapes.add_argument('--coarse', action='store_true', help='use the labels of gtCoarse/ and add train_extra to train')
    sunrgbd = _add_dataset(
        datasets, 'sunrgbd', lambda arguments: find_sunrgbd(arguments.source, _choice(arguments)),
        'SUN RGB-D, 37 classes',
        'SRC must hold SUNRGBD-train_images/, SUNRGBD-test_images/ and sunrgbd_train_test_labels/, or SUNRGBD/ and '
        'SUNRGBDtoolbox/.',
    )
    _add_choice(sunrgbd, 'no val split, as published')
    for name, find, summary, description in (
        ('folder', find_folder, 'your own images and label PNGs',
         'SRC, or its train/, val/ and test/, must hold images/ and labels/. Labels are PNGs of ids or of colours.'),
        ('labelme', find_labelme, 'your own images with annotations of labelme',
         'SRC, or its train/, val/ and test/, must hold images with the JSON files of labelme beside them.'),
        ('coco', find_coco, 'your own images with annotations in COCO format',
         'SRC must hold the images, and annotations/instances_*.json or a folder with a JSON file for each split.'),
        ('voc', find_voc, 'your own images with masks as in Pascal VOC, from CVAT or labelme2voc',
         'SRC must hold JPEGImages/ and SegmentationClass/, and may hold ImageSets/Segmentation/ and labelmap.txt or '
         'class_names.txt.'),
    ):
        own = _add_dataset(datasets, name, _with_classes(find), summary, description)
        own.add_argument('--classes', type=Path, required=True, metavar='FILE',
                         help='YAML file with the meaning of the labels; docs/datasets.md has an example')
        _add_choice(own, f'{DEFAULT_SHARE} if SRC has no splits')
        if name != 'folder':
            own.add_argument('--allow-outside', action='store_true',
                             help='read images outside of SRC, to which paths in annotations, or links, may lead')


def run(arguments: argparse.Namespace) -> int:
    """Convert the dataset and print its classes and sizes."""
    if arguments.source.resolve() == arguments.destination.resolve():
        raise UsageError(f'{arguments.source} is both SRC and DST: choose another folder for DST')
    skipped: list[EnetError] = []
    source = arguments.find(arguments)
    if getattr(arguments, 'allow_outside', False):
        source = replace(source, root=None)
    try:
        dataset = write_dataset(
            arguments.destination, source, arguments.link, skipped.append if arguments.skip_bad else None
        )
    finally:  # also where too little was left
        for error in skipped:
            print(f'enet: skipped: {printable(str(error))}', file=sys.stderr)
    for note in source.notes:
        print(f'enet: not converted: {printable(note)}', file=sys.stderr)
    for name, count in zip(dataset.labels.names, dataset.pixels.get('train', ())):
        if count == 0:
            print(f'enet: train has no pixels of class "{name}": check the labels if it should', file=sys.stderr)
    print(class_table(dataset))
    counts = ', '.join(f'{len(dataset.samples(split))} {split}' for split in dataset.pixels)
    print(f'{dataset.name}: {counts} images with {len(dataset.labels)} classes in {arguments.destination}'
          + (f'; {len(skipped)} skipped' if skipped else ''))
    return ExitCode.SUCCESS


def class_table(dataset: Dataset) -> str:
    """Return a table with the pixels of each class in each split, and their share in percent."""
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
    parser.add_argument('source', type=Path, metavar='SRC', help='folder of the dataset as published or exported')
    parser.add_argument('destination', type=Path, metavar='DST', help='folder for the prepared dataset')
    parser.add_argument('--link', action='store_true',
                        help='link to the images in SRC instead of copying them; keep SRC then')
    parser.add_argument('--skip-bad', action='store_true',
                        help='leave out and list files that cannot be used, instead of stopping at the first')
    parser.set_defaults(run=run, find=find)
    return parser


def _with_classes(find: Callable[[Path, Path, Choice | None], SourceDataset]) -> Find:
    return lambda arguments: find(arguments.source, arguments.classes, _choice(arguments))


def _add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--val-share', type=share, metavar='S',
                       help=f'share of the training images to hold out as val, in (0, 1) (default: {default})')
    group.add_argument('--val-prefix', metavar='P[,P...]',
                       help='hold out as val the training images with a name that starts with one of these prefixes, for '
                       'example all images of a drive')


def _choice(arguments: argparse.Namespace) -> Choice | None:
    if arguments.val_prefix is not None:
        return by_prefix(parse_names(arguments.val_prefix))
    return by_share(arguments.val_share) if arguments.val_share is not None else None

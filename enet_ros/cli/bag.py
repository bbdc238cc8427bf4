"""`enet bag`: a prepared dataset as a bag, with ground truth."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tqdm import tqdm

from enet_ros.cli.arguments import percent, positive_number
from enet_ros.errors import EnetError, UsageError, quoted
from enet_ros.exit_codes import ExitCode
from enet_ros.files import check_writable
from enet_ros.replay.bag_writer import writing_bag
from enet_ros.replay.dataset_bag import DEFAULT_SPLIT, BagLayout, open_split, write_split

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

_JPEG_QUALITY = 95
_RATES = (0.001, 1000.0)
"""Within these, stamps of a million images differ and fit into a message."""
_TOPIC = re.compile(r'(/[A-Za-z_][A-Za-z0-9_]*)+')


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'bag', help='write a prepared dataset as a bag with ground truth',
        description='Write the images of a split, in the order of their names, to an mcap file: images, CameraInfo of an '
                    'uncalibrated camera, ground truth (mono8 class ids, 255 = void) and class names '
                    '(vision_msgs/LabelInfo).',
    )
    parser.add_argument('data', type=Path, metavar='DIR',
                        help='prepared dataset, see "enet convert", or the folder of a split with images/ and labels/')
    parser.add_argument('out', type=Path, metavar='OUT.mcap', help='file to write')
    parser.add_argument('--split', default='', metavar='NAME',
                        help=f'split to write: train, val or test (default: {DEFAULT_SPLIT})')
    parser.add_argument('--rate', type=_rate, default=10.0, metavar='HZ', help='images per second (default: 10)')
    parser.add_argument('--jpeg', type=percent, nargs='?', const=_JPEG_QUALITY, metavar='QUALITY',
                        help='write CompressedImage with this JPEG quality, 1 to 100, instead of raw images '
                             f'(default: {_JPEG_QUALITY})')
    parser.add_argument('--image-topic', type=_topic, default='/camera/image_raw', metavar='TOPIC',
                        help='topic of the images, with /compressed added for JPEG (default: %(default)s)')
    parser.add_argument('--labels-topic', type=_topic, default='/ground_truth/labels', metavar='TOPIC',
                        help='topic of the ground truth (default: %(default)s)')
    parser.add_argument('--frame-id', type=_frame_id, default='camera', metavar='NAME',
                        help='frame_id of all messages (default: camera)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT.mcap if it exists')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the bag and print how to evaluate it."""
    out, layout = arguments.out, BagLayout(arguments.image_topic, arguments.labels_topic, arguments.rate, arguments.jpeg)
    if out.suffix != '.mcap':
        raise UsageError(f'{out} is not an mcap file: use a name that ends in .mcap')
    if twice := layout.shared_topic():
        raise UsageError(f'two kinds of messages would be on {twice}: choose another --labels-topic')
    split = open_split(arguments.data, arguments.split)
    if out.is_file() and not arguments.overwrite:
        raise EnetError(f'{out} exists: choose another name or pass --overwrite')
    check_writable(out)
    with (writing_bag(out, arguments.frame_id) as bag,
          tqdm(total=len(split.images), desc='writing', unit='image') as progress):
        write_split(bag, split, layout, progress.update)
    print(f'{len(split.images)} images of {split.folder} written to {out}')
    truth = ''
    if split.labels:
        truth = f' --labels-topic {layout.labels_topic}'
    else:
        print(f'enet: {out} has no ground truth: {split.folder / "labels"} does not exist', file=sys.stderr)
    print(f'to evaluate a model on them: enet replay {quote(str(out))}{truth} --report DIR')
    return ExitCode.SUCCESS


def _rate(text: str) -> float:
    rate = positive_number(text)
    if not _RATES[0] <= rate <= _RATES[1]:
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a rate from {_RATES[0]} to {_RATES[1]:g} Hz')
    return rate


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text):
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a full topic name, such as /camera/image_raw')
    return text


def _frame_id(text: str) -> str:
    if not text.isprintable():  # what is not UTF-8 is not printable, and cannot be in a message
        raise argparse.ArgumentTypeError(f'{quoted(text)} is not a frame_id: use printable text')
    return text

"""`enet bag`: a prepared dataset as a bag, with ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from enet_ros.cli.arguments import percent, positive_number
from enet_ros.datasets.prepared import SPLITS, read_dataset
from enet_ros.errors import DatasetError, UsageError
from enet_ros.exit_codes import ExitCode
from enet_ros.files import check_writable
from enet_ros.replay.bag_writer import Stamp, writing_bag

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands

START = 1_000_000_000
"""Stamp of the first image, in seconds: tools take smaller ones for times without a date."""


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'bag', help='write a prepared dataset as a bag with ground truth',
        description='Write the images of a split, in the order of their names, to an mcap file: images, the size of the '
                    'camera as CameraInfo, ground truth (mono8 class ids, 255 = void) and class names '
                    '(vision_msgs/LabelInfo).',
    )
    parser.add_argument('data', type=Path, metavar='DIR', help='prepared dataset ("enet convert" makes one)')
    parser.add_argument('out', type=Path, metavar='OUT.mcap', help='file to write')
    parser.add_argument('--split', choices=SPLITS, default='val', help='split to write (default: val)')
    parser.add_argument('--rate', type=positive_number, default=10.0, metavar='HZ', help='images per second (default: 10)')
    parser.add_argument('--jpeg', type=percent, metavar='QUALITY',
                        help='write CompressedImage with this JPEG quality, 1 to 100, instead of raw images')
    parser.add_argument('--image-topic', default='/camera/image_raw', metavar='TOPIC', help='default: %(default)s')
    parser.add_argument('--labels-topic', default='/ground_truth/labels', metavar='TOPIC', help='default: %(default)s')
    parser.add_argument('--frame-id', default='camera', metavar='NAME', help='frame_id of all messages (default: camera)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT.mcap if it exists')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the bag."""
    if arguments.out.suffix != '.mcap':
        raise UsageError(f'{arguments.out} is not an mcap file: use a name that ends in .mcap')
    for topic in (arguments.image_topic, arguments.labels_topic):
        if not topic.startswith('/') or topic.endswith('/') or '//' in topic:
            raise UsageError(f'"{topic}" is not the full name of a topic, such as /camera/image_raw')
    if arguments.image_topic == arguments.labels_topic:
        raise UsageError(f'{arguments.image_topic} is given for images and labels: use two topics')
    if arguments.out.exists() and not arguments.overwrite:
        raise UsageError(f'{arguments.out} exists: choose another name or pass --overwrite')
    dataset = read_dataset(arguments.data)
    samples = dataset.samples(arguments.split)
    check_writable(arguments.out)
    info_topic = f'{arguments.image_topic.rpartition("/")[0]}/camera_info'
    with writing_bag(arguments.out, arguments.frame_id) as bag:
        bag.write_classes(f'{arguments.labels_topic}/label_info', (START, 0), dataset.labels)
        for number, sample in enumerate(tqdm(samples, desc='writing', unit='image')):
            image, labels = sample.read()
            if (wrong := labels[(labels >= len(dataset.labels)) & (labels != 255)]).size:
                raise DatasetError(f'{sample.labels_path} holds label id {wrong[0]}, which is not a class: correct the file')
            stamp = _stamp(number, arguments.rate)
            if arguments.jpeg is None:
                bag.write_image(arguments.image_topic, stamp, image)
            else:
                bag.write_jpeg(arguments.image_topic, stamp, image, arguments.jpeg)
            bag.write_camera_info(info_topic, stamp, image.shape[1], image.shape[0])
            bag.write_image(arguments.labels_topic, stamp, labels, 'mono8')
    image_topic = arguments.image_topic if arguments.jpeg is None else f'{arguments.image_topic}/compressed'
    print(f'{len(samples)} images of {arguments.data} ({arguments.split}) written to {arguments.out}\n'
          f'evaluate them: enet replay {arguments.out} --image-topic {image_topic} '
          f'--labels-topic {arguments.labels_topic} --report DIR')
    return ExitCode.SUCCESS


def _stamp(number: int, rate: float) -> Stamp:
    sec, nanosec = divmod(round(number / rate * 1e9), 10**9)
    return START + sec, nanosec

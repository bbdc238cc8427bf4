"""The arguments of `enet replay`."""

from __future__ import annotations

import argparse
from pathlib import Path

from enet_ros.cli.arguments import (
    add_json_argument,
    add_segmenter_arguments,
    natural_seconds,
    positive_integer,
    positive_number,
)
from enet_ros.errors import UsageError

_ENGINE_DEFAULTS = {'backend': 'auto', 'precision': 'auto', 'threads': 0, 'size': (0, 0), 'resize_mode': 'stretch'}
"""What are parameters of the node in live mode, which a running node has already."""


class _Once(argparse.Action):
    """Stores a value, and refuses a second one: with a gate, the last one would silently replace the others."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
        option_string: str | None = None,
    ) -> None:
        """Store it; argparse's interface."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f'{option_string} is given twice: give it once, with several limits separated by commas')
        setattr(namespace, self.dest, values)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError('the name of the folder is empty')
    return Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all arguments."""
    parser.add_argument('bag', type=Path, nargs='+', metavar='BAG',
                        help='a folder with metadata.yaml, or a .mcap, .db3 or .bag file')
    parser.add_argument('--report', type=_folder, required=True, metavar='DIR',
                        help='folder for report.json and report.html')
    parser.add_argument('--mode', choices=('offline', 'live'), default='offline',
                        help='segment every image without ROS (offline, default), or play the bag to a running node (live)')
    add_json_argument(parser)
    choice = parser.add_argument_group('what to replay')
    choice.add_argument('--image-topic', default='', metavar='TOPIC', help='image topic of a bag that has several')
    choice.add_argument('--labels-topic', default='', metavar='TOPIC',
                        help='topic with the ground truth: images of class ids or colours')
    choice.add_argument('--tolerance', type=natural_seconds, default=0.02, metavar='S',
                        help='largest difference between the stamps of an image and its ground truth (default: 0.02)')
    choice.add_argument('--class-map', type=Path, metavar='FILE',
                        help='YAML file that maps the classes of the ground truth to those of the model')
    choice.add_argument('--start', type=natural_seconds, default=0.0, metavar='S', help='skip the first seconds of each bag')
    choice.add_argument('--duration', type=positive_number, metavar='S', help='replay at most these seconds of each bag')
    choice.add_argument('--every', type=positive_integer, default=1, metavar='N', help='replay every Nth image (default: 1)')
    choice.add_argument('--max-frames', type=positive_integer, metavar='N', help='replay at most N images of each bag')
    gates = parser.add_argument_group('gates')
    gates.add_argument('--fail-under', action=_Once, metavar='NAME=LIMIT,...',
                       help='limits, such as mean_iou=0.60,p99_ms=80')
    gates.add_argument('--criteria', action=_Once, type=Path, metavar='FILE', help='YAML file with limits and ignored times')
    gates.add_argument('--compare', action=_Once, type=Path, metavar='FILE',
                       help='report.json, or the folder of one, to compare with')
    gates.add_argument('--allow', action=_Once, metavar='NAME=CHANGE,...',
                       help='changes for the worse that --compare accepts, such as mean_iou=-0.01,p99_ms=+10%%')
    several = parser.add_argument_group('several bags')
    several.add_argument('--jobs', type=positive_integer, default=1, metavar='N', help='replay N bags at the same time')
    several.add_argument('--ray', metavar='ADDRESS', help='replay the bags on the Ray cluster at this address')
    outputs = parser.add_argument_group('other outputs, of one bag')
    outputs.add_argument('--save-bag', type=Path, metavar='FILE', help='write images, labels and overlays to an mcap file')
    outputs.add_argument('--video', type=Path, metavar='FILE', help='write the overlays to an mp4 file')
    live = parser.add_argument_group('live')
    live.add_argument('--node', metavar='NAME', help='use this running node instead of starting one')
    live.add_argument('--rate', type=positive_number, metavar='X', help='play X times as fast as recorded (default: 1)')
    live.add_argument('--find-rate', action='store_true', help='search the highest rate with under 1 %% drops')
    add_segmenter_arguments(parser)


def check_usage(arguments: argparse.Namespace) -> None:
    """Check which arguments are given together, which argparse cannot.

    Raises:
        UsageError: two arguments exclude each other, or one needs another.

    """
    several = len(arguments.bag) > 1 or arguments.jobs > 1 or arguments.ray
    options = {
        '--node': arguments.node, '--rate': arguments.rate, '--find-rate': arguments.find_rate, '--jobs': arguments.jobs > 1,
        '--ray': arguments.ray, '--save-bag': arguments.save_bag, '--video': arguments.video,
    }
    given = {name for name, value in options.items() if value}
    if arguments.mode == 'offline' and (wrong := given & {'--node', '--rate', '--find-rate'}):
        raise UsageError(f'{min(wrong)} needs --mode live')
    if arguments.mode == 'live' and (wrong := given & {'--jobs', '--ray'}):
        raise UsageError(f'{min(wrong)} needs --mode offline: bags that are played at the same time slow each other down')
    if arguments.find_rate and len(arguments.bag) > 1:
        raise UsageError('--find-rate needs a single BAG')
    changed = [name for name, default in _ENGINE_DEFAULTS.items() if getattr(arguments, name) != default]
    if arguments.node and changed:
        option = changed[0].replace('_', '-')
        raise UsageError(f'--{option} is a parameter of the node: set it when you start {arguments.node}')
    if given >= {'--jobs', '--ray'}:
        raise UsageError('--jobs is for this machine and --ray for a cluster: use one of them')
    if several and (wrong := given & {'--save-bag', '--video'}):
        raise UsageError(f'{min(wrong)} needs a single BAG, without --jobs and --ray')
    for option, path, suffix in (('--save-bag', arguments.save_bag, '.mcap'), ('--video', arguments.video, '.mp4')):
        if path and path.suffix != suffix:
            raise UsageError(f'{option} {path}: use a name that ends in {suffix}')
    former = arguments.compare.resolve() if arguments.compare else None
    if former and arguments.report.resolve() in (former, former.parent):
        raise UsageError(f'--compare {arguments.compare} is the report that this run replaces: choose another --report')
    if arguments.allow is not None and not arguments.compare:
        raise UsageError('--allow needs --compare')
    paths = [path.resolve() for path in arguments.bag]
    if arguments.save_bag and arguments.save_bag.resolve() in paths:
        raise UsageError(f'--save-bag {arguments.save_bag} is the bag to replay: choose another name')
    if twice := next((path for path in arguments.bag if paths.count(path.resolve()) > 1), None):
        raise UsageError(f'{twice} is given twice: its frames would count twice')

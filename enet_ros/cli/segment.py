"""`enet segment`: label images and overlays of images, folders, videos and bags."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from enet_ros.cli.arguments import add_segmenter_arguments, fraction, make_segmenter
from enet_ros.errors import EnetError, IncompleteInputError, printable
from enet_ros.exit_codes import ExitCode
from enet_ros.images.frames import FrameSource
from enet_ros.images.overlay import blend
from enet_ros.images.results import INDEX, INDEX_COLUMNS, ResultFolder
from enet_ros.images.sources import open_frames
from enet_ros.labels import parse_names
from enet_ros.segmenter import Segmenter

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'segment', help='segment images, folders, videos or bags',
        description=(
            'Write DIR/labels/NAME.png (class ids, 255 = void) and DIR/overlays/NAME.jpg for every image. NAME is the stem '
            'of an image file, VIDEO_NUMBER for a video, and BAG_SEC_NANOSEC for a bag: the stamp of the image, or the time '
            f'when it was recorded if the stamp is 0. DIR/{INDEX} lists all labels in DIR, with the columns '
            f'{", ".join(INDEX_COLUMNS)}; topic, sec and nanosec are empty for files and videos.'
        ),
        epilog=(
            'The exit code is 4 if an input is incomplete: damaged images in a folder, a video that ends early, or a '
            'recording that was cut off. Everything readable is segmented first.'
        ),
    )
    parser.add_argument('input', type=Path, nargs='+', metavar='INPUT',
                        help='an image, a folder of images (without its sub-folders), a video or a bag')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for the results; only results of the same inputs are replaced')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--classes', type=parse_names, default=(), metavar='NAME,...',
                        help='classes to report (default: all)')
    parser.add_argument('--alpha', type=fraction, default=0.5, help='opacity of the class colours in the overlays, 0 to 1')
    add_segmenter_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Segment every input. Report what cannot be read and continue; the exit code is 4 then, or 1 if nothing can be read."""
    sources = [open_frames(path, arguments.topic) for path in arguments.input]
    segmenter = make_segmenter(arguments, arguments.classes)
    results = ResultFolder(arguments.out, 'enet segment')
    results.prepare(sources)
    try:
        segmented, problems = _segment_all(sources, segmenter, results, arguments.alpha)
    finally:
        results.write_index()
    if not problems:
        print(f'{segmented} images segmented into {arguments.out}')
        return ExitCode.SUCCESS
    print(f'{segmented} images segmented into {arguments.out}; the input is incomplete, errors: {problems}')
    return ExitCode.INCOMPLETE if segmented else ExitCode.ERROR


def _segment_all(
    sources: list[FrameSource], segmenter: Segmenter, results: ResultFolder, alpha: float
) -> tuple[int, int]:
    """Write the results of every frame. Return the number of segmented frames and of reported errors."""
    palette = segmenter.labels.palette()[:, ::-1].copy()  # frames are BGR
    segmented = problems = 0
    with tqdm(total=sum(source.count for source in sources), desc='segmenting', unit='image') as progress:
        for source in sources:
            try:
                for frame in source:
                    try:
                        results.add(frame)
                        image = frame.decode()
                    except EnetError as error:
                        progress.write(f'enet: {printable(str(error))}', file=sys.stderr)
                        problems += 1
                    else:
                        labels = segmenter.segment(image, 'bgr').labels
                        results.write_labels(frame.name, labels)
                        results.write_overlay(frame.name, blend(image, labels, palette, alpha))
                        segmented += 1
                    progress.update()
            except IncompleteInputError as error:
                progress.write(f'enet: {printable(str(error))}', file=sys.stderr)
                problems += 1
    return segmented, problems

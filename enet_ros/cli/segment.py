"""`enet segment`: label images and overlays of images, folders, videos and bags."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from enet_ros.cli.arguments import add_segmenter_arguments, make_segmenter
from enet_ros.errors import EnetError
from enet_ros.files import replacing, write_image
from enet_ros.frames import open_frames
from enet_ros.overlay import blend

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'segment', help='segment images, folders, videos or bags',
        description='Write DIR/labels/NAME.png (class ids, 255 = void) and DIR/overlays/NAME.jpg of every image.',
    )
    parser.add_argument('input', type=Path, nargs='+', metavar='INPUT',
                        help='an image, a folder of images, a video or a bag')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--classes', default='', help='names of the classes to report, separated by commas (default: all)')
    parser.add_argument('--alpha', type=_share, default=0.5, help='share of the class colours in the overlays, 0 to 1')
    add_segmenter_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Segment every input; a file that cannot be read is named and passed over, and makes the exit code 1."""
    sources = [open_frames(path, arguments.topic) for path in arguments.input]
    classes = tuple(name.strip() for name in arguments.classes.split(',') if name.strip())
    segmenter = make_segmenter(arguments, classes)
    mark = _claim(arguments.out, arguments.input)
    palette = segmenter.labels.palette()[:, ::-1].copy()  # frames are BGR
    written: dict[str, Path] = {}
    failed = 0
    with tqdm(total=sum(source.count for source in sources), desc='segmenting', unit='image') as progress:
        for source in sources:
            for frame in source:
                if frame.name in written:
                    raise EnetError(f'{frame.path} and {written[frame.name]} would both become {frame.name}.png: '
                                    'segment them into different folders')
                written[frame.name] = frame.path
                labels_path = arguments.out / 'labels' / f'{frame.name}.png'
                overlay_path = arguments.out / 'overlays' / f'{frame.name}.jpg'
                try:
                    image = frame.decode()
                except EnetError as error:
                    failed += 1
                    for path in (labels_path, overlay_path):  # of an earlier run, which would look like this one's
                        path.unlink(missing_ok=True)
                    progress.write(f'enet: {error}', file=sys.stderr)
                    continue
                labels = segmenter.segment(image, 'bgr')
                try:
                    write_image(labels_path, labels)
                    write_image(overlay_path, blend(image, labels, palette, arguments.alpha))
                finally:  # when interrupted, too
                    mark.touch()
                progress.update()
    print(f'{len(written) - failed} images segmented into {arguments.out}' + (f', {failed} failed' if failed else ''))
    return 1 if failed else 0


def _claim(out: Path, inputs: Sequence[Path]) -> Path:
    """Return the mark of a folder of results, to be touched after each of them: what is newer is no result.

    Labels that someone drew, or corrected by hand, must not be.

    Raises:
        EnetError: `out` holds labels or overlays of other origin or changed since, or an input is among them.

    """
    mark = out / '.enet_segment'
    for folder in (out / 'labels', out / 'overlays'):
        last = mark.stat().st_mtime_ns if mark.exists() else 0
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.stat().st_mtime_ns > last:
                raise EnetError(f'{path} was not written by "enet segment", or changed since: choose another --out')
        for path in inputs:
            if folder.resolve() in (path.resolve(), *path.resolve().parents):
                raise EnetError(f'{path} is where results would be written: choose another --out')
    with replacing(mark):
        pass
    return mark


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no share from 0 to 1')
    return share

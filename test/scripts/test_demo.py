"""scripts/demo.py end to end: a real node process, real DDS, files out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from helpers import ROOT
from rosbags.rosbag2 import StoragePlugin
from test_frames import write_bag

from enet_ros.datasets.prepared import Dataset

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

DEMO = ROOT / 'scripts' / 'demo.py'


def _demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(DEMO), *map(str, arguments)], capture_output=True, text=True, timeout=180)


def test_a_dataset_gives_labels_overlays_latency_and_iou(
    drawn_dataset: Callable[..., Dataset], small_model: Path, tmp_path: Path
) -> None:
    dataset = drawn_dataset(val=8)
    done = _demo('--input', dataset.root, '--model', small_model, '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['frames_in'] == report['frames_out'] == 8
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['p99']
    assert report['fps'] > 0 and 0 <= report['mean_iou'] <= 1
    names = [sample.stem for sample in dataset.samples('val')]
    assert sorted(path.stem for path in (tmp_path / 'out' / 'labels').iterdir()) == names
    assert sorted(path.stem for path in (tmp_path / 'out' / 'overlays').iterdir()) == names
    assert cv2.imread(str(tmp_path / 'out' / 'labels' / f'{names[0]}.png'), cv2.IMREAD_UNCHANGED).shape == (64, 96)
    assert 'mean IoU' in done.stdout and 'frames out   8' in done.stdout


def test_a_bag_is_played_without_ground_truth(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'drive', {'/front': 'Image', '/rear': 'Image'}, 5, StoragePlugin.MCAP)
    done = _demo('--input', bag, '--topic', '/rear', '--model', small_model, '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['frames_in'] == report['frames_out'] == 5 and report['mean_iou'] is None


def test_what_cannot_be_played_is_one_line(small_model: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        (('--input', tmp_path / 'none', '--model', small_model), 'no such input'),
        (('--input', tmp_path, '--model', small_model), 'no images'),
        (('--input', DEMO, '--model', small_model), 'neither an image'),
        (('--input', ROOT, '--model', tmp_path / 'none'), 'no model file'),
    ):
        done = _demo(*arguments, '--out', tmp_path / 'out')
        assert done.returncode == 1
        assert reason in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'file').write_text('')
    done = _demo('--input', DEMO.parent.parent / 'docs', '--model', small_model, '--out', tmp_path / 'file')
    assert done.returncode == 1 and 'Traceback' not in done.stderr and str(tmp_path / 'file') in done.stderr


def test_labels_that_no_demo_wrote_are_not_replaced(small_model: Path, drawn_dataset: Callable[..., Dataset]) -> None:
    dataset = drawn_dataset()
    done = _demo('--input', dataset.root, '--model', small_model, '--out', dataset.root / 'val')
    assert done.returncode == 1 and 'was not written by this demo' in done.stderr
    assert len(dataset.samples('val')) == 2


def test_ground_truth_of_other_classes_is_refused(
    small_model: Path, drawn_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    path = drawn_dataset().root / 'dataset.yaml'
    path.write_text(path.read_text().replace('Sky', 'Heaven'))
    done = _demo('--input', path.parent, '--model', small_model, '--out', tmp_path / 'out')
    assert done.returncode == 1 and 'other classes' in done.stderr


def test_a_rate_that_is_none_is_bad_usage() -> None:
    assert _demo('--rate', '0').returncode == 2

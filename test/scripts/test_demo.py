"""scripts/demo.py from end to end: a node as its own process, images over DDS, results in files."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT
from recordings import cut, write_bag

from enet_ros.datasets.prepared import Dataset
from enet_ros.images.files import read_labels
from enet_ros.network.model_file import read_model, write_model
from enet_ros.replay.report_file import check_report

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

DEMO = ROOT / 'scripts' / 'demo.py'


def _demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(DEMO), *map(str, arguments)], capture_output=True, text=True, timeout=180)


def test_a_dataset_gives_labels_overlays_latency_and_iou(
    drawn_dataset: Callable[..., Dataset], small_model: Path, tmp_path: Path
) -> None:
    dataset = drawn_dataset(val=8)
    # faster than any node: the demo has to wait for it
    done = _demo('--input', dataset.root, '--model', small_model, '--out', tmp_path / 'out', '--rate', 10_000)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['frames_in'] == report['frames_out'] == 8
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['p99']
    assert report['fps'] > 0 and 0 <= report['mean_iou'] <= 1
    samples = dataset.samples('val')
    names = [sample.stem for sample in samples]
    assert sorted(path.stem for path in (tmp_path / 'out' / 'labels').iterdir()) == names
    assert sorted(path.stem for path in (tmp_path / 'out' / 'overlays').iterdir()) == names
    assert read_labels(tmp_path / 'out' / 'labels' / f'{names[0]}.png').shape == (64, 96)
    with (tmp_path / 'out' / 'index.csv').open(newline='') as file:
        assert [row['source'] for row in csv.DictReader(file)] == [str(sample.image_path) for sample in samples]
    assert 'mean IoU' in done.stdout and 'frames out   8' in done.stdout
    assert 'was trained on' not in done.stdout
    assert 'Road' in done.stdout and done.stdout.endswith(f'page: {tmp_path / "out" / "report.html"}\n')
    assert (tmp_path / 'out' / 'report.html').is_file()
    check_report(report)


def test_a_bag_and_then_a_dataset_that_the_weights_were_trained_on(
    drawn_dataset: Callable[..., Dataset], small_model: Path, tmp_path: Path
) -> None:
    (bag,) = write_bag(tmp_path / 'drive', {'/front': 'Image', '/rear': 'Image'}, 5).glob('*.mcap')
    cut(bag, bag.stat().st_size - 20)  # incomplete, but all images are there
    out = tmp_path / 'out'
    done = _demo('--input', bag, '--topic', '/rear', '--model', small_model, '--out', out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'{bag} is an incomplete recording: 5 messages' in done.stderr
    report = json.loads((out / 'report.json').read_text())
    assert report['frames_in'] == report['frames_out'] == 5 and report['mean_iou'] is None

    dataset, model = drawn_dataset(val=3), read_model(small_model)
    info = dataclasses.replace(model.info, dataset=dataset.name, recipe={'splits': ['train', 'val'], 'hold_out': []})
    write_model(tmp_path / 'seen.safetensors', info, model.weights)
    done = _demo('--input', dataset.root, '--model', tmp_path / 'seen.safetensors', '--out', out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'The model was trained on images of drawn (val)' in done.stdout
    # the results of the bag are gone
    assert len(list((out / 'labels').iterdir())) == len(list((out / 'overlays').iterdir())) == 3


def test_an_input_that_cannot_be_played_is_one_line(small_model: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        (('--input', tmp_path / 'none', '--model', small_model), 'no such input'),
        (('--input', tmp_path, '--model', small_model), 'no images'),
        (('--input', DEMO, '--model', small_model), 'is not an image'),
        (('--input', ROOT, '--model', tmp_path / 'none'), str(tmp_path / 'none')),
    ):
        done = _demo(*arguments, '--out', tmp_path / 'out')
        assert done.returncode == 1
        assert reason in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'file').write_text('')
    done = _demo('--input', DEMO.parent.parent / 'docs', '--model', small_model, '--out', tmp_path / 'file')
    assert done.returncode == 1 and 'Traceback' not in done.stderr and str(tmp_path / 'file') in done.stderr


def test_labels_that_the_demo_did_not_write_are_not_replaced(
    small_model: Path, drawn_dataset: Callable[..., Dataset]
) -> None:
    dataset = drawn_dataset()
    done = _demo('--input', dataset.root, '--model', small_model, '--out', dataset.root / 'val')
    assert done.returncode == 1 and 'was not written by "scripts/demo.sh"' in done.stderr
    assert len(dataset.samples('val')) == 2


def test_ground_truth_of_other_classes_is_refused(
    small_model: Path, drawn_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    path = drawn_dataset().root / 'dataset.yaml'
    path.write_text(path.read_text().replace('Sky', 'Heaven'))
    done = _demo('--input', path.parent, '--model', small_model, '--out', tmp_path / 'out')
    assert done.returncode == 1 and 'Sky' in done.stderr and 'Heaven' in done.stderr


def test_an_invalid_rate_is_bad_usage() -> None:
    assert _demo('--rate', '0').returncode == 2

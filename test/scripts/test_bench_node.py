"""scripts/bench_node.py from end to end: the node as its own process, measured over DDS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

_BENCH = ROOT / 'scripts' / 'bench_node.py'


def _bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_BENCH), '--size', '96x64', '--seconds', '3', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_two_cameras(small_model: Path, tmp_path: Path) -> None:
    done = _bench('--model', small_model, '--cameras', 2, '--rate', 5, '--json', tmp_path / 'bench.json')
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'bench.json').read_text())
    assert [(camera['sent'], camera['answered']) for camera in report['cameras'].values()] == [(15, 15), (15, 15)]
    stages, published, received = report['stages_ms'], report['outside_to_published_ms'], report['outside_to_received_ms']
    assert list(stages) == ['send', 'wait', 'prepare', 'engine', 'publish', 'receive']
    for figures in (*stages.values(), published, received, report['end_to_end_ms']):
        assert figures['p50'] <= figures['p90'] <= figures['p99']
    # 'published' ends when publish() returns: a subscriber may have the labels already, so the order of the two is open
    for outside in (published, received):
        assert 0 < outside['p50'] < report['end_to_end_ms']['p99']
    assert report['cpu'] > 0
    assert all(20 < report['memory_mb'][when] <= report['memory_mb']['peak'] for when in ('start', 'now'))
    assert '15 images sent, 15 labels, 5.0 fps' in done.stdout


def test_without_a_subscriber_the_node_segments_nothing(small_model: Path) -> None:
    done = _bench('--model', small_model, '--no-subscriber', '--transport', 'compressed')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'end to end            none' in done.stdout
    assert 'segmented 0 images' in done.stderr


def test_a_node_that_does_not_start_is_an_error() -> None:
    done = _bench('-p', 'overlay_alpha:=2.0')
    assert done.returncode == 1
    assert 'bench_node: the node stopped with exit code 2' in done.stderr


def test_a_value_that_is_not_yaml_is_a_usage_error() -> None:
    done = _bench('-p', 'width:=[')
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert "argument -p: invalid _parameter value: 'width:=['" in done.stderr

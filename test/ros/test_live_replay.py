"""`enet replay --mode live`: the node as its own process, the images of a bag over DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from helpers import ROOT
from recordings import NO_STAMP, write_bag
from ros_nodes import PATIENCE, Process, wait_until

from enet_ros.exit_codes import ExitCode
from enet_ros.images.bags import open_bag
from enet_ros.images.sources import open_frames
from enet_ros.replay.report_file import check_report

COMMAND = (sys.executable, '-m', 'enet_ros.cli.main', 'replay', '--mode', 'live')


def _replay(bag: Path, model: Path, out: Path, *arguments: object, code: int = 0) -> tuple[dict, str, str]:
    """Return report, standard output and standard error."""
    done = subprocess.run([*COMMAND, *map(str, arguments), bag, '--report', out, '--model', model], text=True,
                          capture_output=True, timeout=180, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr, done.stderr
    if not (out / 'report.json').is_file():
        return {}, done.stdout, done.stderr
    report = json.loads((out / 'report.json').read_text())
    check_report(report)
    return report, done.stdout, done.stderr


@pytest.fixture
def running(small_model: Path, tmp_path: Path, processes: None) -> Iterator[Process]:
    process = Process(tmp_path / 'log', remaps=['__ns:=/robot'], model=small_model, threads=1)
    yield process
    process.stop()


def test_all_frames_come_back_with_labels_and_confidence(small_model: Path, tmp_path: Path) -> None:
    # the driver repeats a stamp, and sets none: the images still have to be told apart
    stamps = [(5, 0), (5, 0), NO_STAMP, NO_STAMP, (3, 7), (6, 0)]
    bag = write_bag(tmp_path / 'bag', {'/front': 'Image', '/rear': 'Image'}, 6, stamps=stamps)
    report, out, _ = _replay(bag, small_model, tmp_path / 'out', '--threads', 1, '--size', '192x128',
                             '--image-topic', '/rear', '--save-bag', tmp_path / 'saved.mcap')
    assert report['mode'] == 'live' and report['frames_in'] == report['frames_out'] == 6 and report['complete']
    assert len(set(report['frames']['name'])) == 6 and None not in report['frames']['confidence']
    live, latency = report['timing']['live'], report['timing']['latency_ms']
    assert set(live['drops'].values()) == {0} and live['published'] == 6
    assert 0 < live['stages_ms']['network']['p50'] <= live['stages_ms']['total']['p50'] < latency['p99']
    assert live['cpu_percent'] > 0 and live['memory_mb'] > 0 and live['jitter_ms'] >= 0
    assert report['latency_ms'] == {name: latency[name] for name in ('p50', 'p99')}
    # 6 images at 5 Hz take 1 s: warm-up and the start of the node do not count
    assert 5 < report['fps'] <= 6
    assert (report['configuration']['width'], report['configuration']['threads']) == (192, 1)
    assert open_bag(tmp_path / 'saved.mcap').topics['/enet/labels'].count == 6
    assert '6 of 6 frames at 192x128' in out and (tmp_path / 'out' / 'report.html').is_file()


def test_live_labels_are_those_of_offline_replay(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'CompressedImage'}, 4)
    arguments = ('--backend', 'openvino', '--precision', 'fp32', '--threads', 1)
    live, _, _ = _replay(bag, small_model, tmp_path / 'live', *arguments, '--save-bag', tmp_path / 'live.mcap',
                         '--video', tmp_path / 'live.mp4')
    subprocess.run([*COMMAND[:-1], 'offline', bag, '--report', tmp_path / 'offline', '--model', small_model,
                    '--save-bag', tmp_path / 'offline.mcap', *map(str, arguments)],
                   check=True, capture_output=True, timeout=180)
    offline = json.loads((tmp_path / 'offline' / 'report.json').read_text())
    for column in ('name', 'seconds', 'class_share', 'flips', 'confidence'):
        assert live['frames'][column] == offline['frames'][column]
    assert (tmp_path / 'live.mcap').read_bytes() == (tmp_path / 'offline.mcap').read_bytes()
    assert open_frames(tmp_path / 'live.mp4').count == 4


def test_under_overload_every_image_is_accounted_for(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 200)
    # 200 images in 0.1 s, for a network that takes tens of milliseconds
    report, _, _ = _replay(bag, small_model, tmp_path / 'out', '--threads', 1, '--size', '640x480', '--rate', 400,
                           code=ExitCode.INCOMPLETE)
    live, (bag_report,) = report['timing']['live'], report['bags']
    coverage = bag_report['coverage']
    assert coverage['selected'] == 200 and 0 < coverage['segmented'] < 200
    assert sum(live['drops'].values()) == live['published'] - coverage['segmented'] == 200 - coverage['segmented']
    assert report['timing']['dropped'] == pytest.approx(1 - coverage['segmented'] / 200)
    (problem,) = coverage['problems']
    assert problem.startswith(f'{200 - coverage["segmented"]} images came back without labels')
    assert not report['complete']


def test_the_highest_rate_is_searched(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 5)
    report, out, _ = _replay(bag, small_model, tmp_path / 'out', '--threads', 1, '--size', '512x384', '--find-rate')
    rate = report['timing']['live']['highest_rate_hz']
    assert rate > 1
    assert f'highest rate with under 1 % drops: {rate} Hz' in out
    assert report['frames_out'] == 5  # the images of the search do not count


@contextmanager
def _started(bag: Path, model: Path, out: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a replay, and kill it if it still runs at the end of the block."""
    replay = subprocess.Popen([*COMMAND, bag, '--report', out, '--model', model, *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield replay
    finally:
        replay.kill()
        replay.wait()


def _node_of(replay: subprocess.Popen[str]) -> int:
    """Wait for the node of a replay, and return its process id."""
    children = Path(f'/proc/{replay.pid}/task/{replay.pid}/children')
    wait_until(children.read_text, lambda: 'the replay starts no node')
    return int(children.read_text().split()[0])


def test_a_killed_node_is_one_line(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 100)
    with _started(bag, small_model, tmp_path / 'out') as replay:
        node = _node_of(replay)
        time.sleep(1)
        os.kill(node, signal.SIGKILL)
        _, errors = replay.communicate(timeout=PATIENCE)
    assert replay.returncode == ExitCode.ERROR
    assert [line for line in errors.splitlines() if line.startswith('enet: ')] == [
        'enet: bag: the node stopped with exit code -9: see its messages above']
    assert 'Traceback' not in errors and not (tmp_path / 'out' / 'report.json').exists()


@pytest.mark.parametrize(('number', 'code'), [
    (signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL),
], ids=['interrupted', 'terminated', 'killed'])
def test_the_node_does_not_outlive_the_replay(
    small_model: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 100)
    with _started(bag, small_model, tmp_path / 'out') as replay:
        _node_of(replay)
        time.sleep(1)
        replay.send_signal(number)
        _, errors = replay.communicate(timeout=PATIENCE)  # the node has the same streams: also waits for it
    assert replay.returncode == code and 'Traceback' not in errors
    assert not (tmp_path / 'out' / 'report.json').exists()


def test_a_running_node_that_is_killed_is_one_line(running: Process, small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 200)
    running.wait_for_log('segmenting /robot/image')
    with _started(bag, small_model, tmp_path / 'out', '--node', '/robot/enet') as replay:
        time.sleep(5)
        running.popen.kill()
        _, errors = replay.communicate(timeout=PATIENCE)
    assert replay.returncode == ExitCode.ERROR and 'Traceback' not in errors
    assert errors.splitlines()[-1] == (
        'enet: bag: node /robot/enet publishes no diagnostics any more: check whether it still runs')
    assert not (tmp_path / 'out' / 'report.json').exists()


def test_a_running_node_is_used_as_it_is(running: Process, small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'CompressedImage'}, 4)  # the node takes raw images
    report, _, _ = _replay(bag, small_model, tmp_path / 'out', '--node', '/robot/enet')
    assert report['frames_out'] == 4 and report['timing']['live']['cpu_percent'] is None
    assert report['configuration']['node'] == '/robot/enet' and report['configuration']['threads'] == 1
    other = ROOT / 'models' / 'enet_camvid.safetensors'
    _, _, errors = _replay(bag, other, tmp_path / 'other', '--node', 'robot/enet', code=1)
    assert errors.splitlines()[-1].startswith(f'enet: bag: node /robot/enet runs the model {small_model.name}')


def test_a_node_that_is_not_there_is_one_line(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 2)
    _, _, errors = _replay(bag, small_model, tmp_path / 'out', '--node', '/nobody', code=1)
    assert errors.splitlines()[-1] == (
        'enet: bag: no node /nobody publishes diagnostics: start it, or check its name and ROS_DOMAIN_ID')


@pytest.mark.parametrize(('arguments', 'reason'), [
    (('--node', '/enet', '--threads', 2), '--threads is a parameter of the node'),
    (('--node', '/enet', '--size', '96x64'), '--size is a parameter of the node'),
    (('--node', '/en et'), '"/en et" cannot be the name of a node'),
    (('--node', '/enet/'), '"/enet/" cannot be the name of a node'),
    (('--find-rate', 'other'), '--find-rate needs a single BAG'),
    (('--jobs', 2), '--jobs needs --mode offline'),
], ids=['threads', 'size', 'space', 'slash', 'find-rate', 'jobs'])
def test_arguments_that_contradict_are_bad_usage(
    small_model: Path, tmp_path: Path, arguments: tuple[object, ...], reason: str
) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 2)
    _, _, errors = _replay(bag, small_model, tmp_path / 'out', *arguments, code=ExitCode.USAGE)
    assert reason in errors


def test_without_ros_the_error_says_what_to_do(small_model: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', {'/image': 'Image'}, 2)
    code = f'''
import sys
sys.modules['rclpy'] = None
from enet_ros.cli.main import main
paths = ['--report', {str(tmp_path / "out")!r}, '--model', {str(small_model)!r}]
sys.exit(main(['replay', {str(bag)!r}, '--mode', 'live', *paths]))
'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('enet: --mode live needs ROS 2 (rclpy') and done.stderr.count('\n') == 1

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT
from recordings import cut, write_mcap

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.network.model_file import read_model
from enet_ros.replay.job import Job, Outcome, replay_job
from enet_ros.replay.parallel import replay_parallel
from enet_ros.replay.progress import ProgressBars
from enet_ros.replay.ray_cluster import replay_on_ray
from enet_ros.replay.recording import Selection
from enet_ros.replay.report import build_report
from enet_ros.replay.results import ReplayResult
from enet_ros.replay.verdict import judge

SPEC = EngineSpec('openvino', 'fp32', 96, 64, confidence=True, threads=1)


@pytest.fixture
def jobs(tmp_path: Path, shipped_model: Path) -> list[Job]:
    """Return jobs for a good bag, an empty file, a missing file, a bag that was cut off, and another good one."""
    write_mcap(tmp_path / 'one.mcap', 10)
    (tmp_path / 'empty.mcap').touch()
    whole = write_mcap(tmp_path / 'cut.mcap', 12)
    cut(whole, whole.stat().st_size // 2)
    write_mcap(tmp_path / 'two.mcap', 14)
    names = ('one', 'empty', 'missing', 'cut', 'two')
    return [Job(tmp_path / f'{name}.mcap', Selection(), None, shipped_model, SPEC, 'stretch') for name in names]


def comparable(outcome: object) -> object:
    """Return all of an outcome but its timing, as something that can be compared."""
    if isinstance(outcome, EnetError):
        return str(outcome)
    assert isinstance(outcome, ReplayResult)
    return (outcome.bag, outcome.coverage, outcome.frames, outcome.confusion.tolist(), outcome.boundary_confusion.tolist(),
            outcome.confusion_frames, outcome.confidence_histogram.tolist(), outcome.worst, outcome.typical)


def report(jobs: list[Job], outcomes: list[Outcome]) -> str:
    """Return report.json without its timing."""
    results = [outcome for outcome in outcomes if isinstance(outcome, ReplayResult)]
    failed = [(job.path.name, outcome) for job, outcome in zip(jobs, outcomes) if isinstance(outcome, EnetError)]
    whole = build_report(results, failed, read_model(jobs[0].model), {}, 'offline')
    judge(whole)
    assert whole.pop('timing')
    return json.dumps(whole)


def one_by_one(jobs: list[Job]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for job in jobs:
        try:
            outcomes.append(replay_job(job, lambda done, total: None))
        except EnetError as error:
            outcomes.append(error)
    return outcomes


def assert_same(jobs: list[Job], outcomes: list[Outcome]) -> None:
    """Check that pictures and the whole report but its timing are those of a replay one by one."""
    expected = one_by_one(jobs)
    assert list(map(comparable, outcomes)) == list(map(comparable, expected))
    assert report(jobs, outcomes) == report(jobs, expected)


def test_processes_give_the_same_as_one_by_one(jobs: list[Job]) -> None:
    with ProgressBars(2) as bars:
        outcomes = replay_parallel(jobs, 2, bars)
    assert [isinstance(outcome, ReplayResult) for outcome in outcomes] == [True, False, False, True, True]
    assert_same(jobs, outcomes)
    assert outcomes[3].coverage.problems and not outcomes[4].coverage.problems
    assert multiprocessing.active_children() == []


class Killer(ProgressBars):
    """Kills the only process when it begins with a bag."""

    def show(self, job: int, name: str, done: int, total: int) -> None:
        if name == 'victim.mcap' and not done:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def test_a_process_that_is_killed_fails_its_bag_only(jobs: list[Job], tmp_path: Path, shipped_model: Path) -> None:
    victim = Job(write_mcap(tmp_path / 'victim.mcap', 400), Selection(), None, shipped_model, SPEC, 'stretch')
    with Killer(1) as bars:
        outcomes = replay_parallel([jobs[0], victim, jobs[4]], 1, bars)
    assert [len(outcome.frames) for outcome in (outcomes[0], outcomes[2])] == [10, 14]
    assert str(outcomes[1]) == 'the process that replayed it was killed by SIGKILL'


def test_an_interrupt_ends_the_processes(jobs: list[Job]) -> None:
    class Interrupt(ProgressBars):
        def show(self, job: int, name: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Interrupt(2) as bars:
        replay_parallel(jobs, 2, bars)
    assert multiprocessing.active_children() == []


@contextmanager
def started_command(jobs: list[Job], out: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run `enet replay` with two processes, and yield it and its processes once they run Python code."""
    command = [sys.executable, '-m', 'enet_ros.cli.main', 'replay', *(str(job.path) for job in jobs), '--jobs', '2',
               '--report', out]
    replay = subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        children = Path(f'/proc/{replay.pid}/task/{replay.pid}/children')
        deadline = time.monotonic() + 60
        while len(pids := children.read_text().split()) < 3:  # one is the resource tracker of multiprocessing
            assert replay.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)
        yield replay, list(map(int, pids))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(replay.pid, signal.SIGKILL)


def test_an_interrupt_is_left_to_the_command(jobs: list[Job], tmp_path: Path) -> None:
    with started_command([jobs[0], jobs[4]], tmp_path / 'out') as (replay, processes):
        for process in processes:  # a terminal interrupts all processes
            os.kill(process, signal.SIGINT)
        _, errors = replay.communicate(timeout=60)
    assert replay.returncode == 0 and 'Traceback' not in errors


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=['interrupted', 'killed'])
def test_the_processes_do_not_outlive_the_command(
    jobs: list[Job], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started_command([jobs[0], jobs[4]], tmp_path / 'out') as (replay, _):
        replay.send_signal(number)
        _, errors = replay.communicate(timeout=60)  # the processes have the same stream: also waits for them
    assert replay.returncode == code and 'Traceback' not in errors


@pytest.fixture
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Ray on this machine with two workers, and return its address."""
    if find_spec('ray') is None:
        pytest.skip("needs Ray: pip install '.[ray]'")
    address = f'127.0.0.1:{20000 + os.getpid() % 10000}'
    command = [str(Path(sys.executable).with_name('ray')), 'start', '--head', '--block', '--num-cpus=2',
               '--include-dashboard=false', '--disable-usage-stats', '--node-ip-address=127.0.0.1',
               f'--port={address.rpartition(":")[2]}']
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
    log = (tmp_path_factory.mktemp('ray') / 'log').open('w')
    head = subprocess.Popen(command, env={**os.environ, 'PYTHONPATH': path}, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield address
    finally:
        head.terminate()
        head.wait(60)
        log.close()


def test_ray_gives_the_same_as_one_by_one(jobs: list[Job], ray_address: str) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            with ProgressBars(1) as bars:
                outcomes = replay_on_ray(jobs, ray_address, bars)
            break
        except EnetError as error:  # Ray is still starting
            assert 'cannot connect to Ray' in str(error) and time.monotonic() < deadline, error
            time.sleep(1)
    assert_same(jobs, outcomes)


def test_an_address_without_ray_is_refused_in_one_line(jobs: list[Job]) -> None:
    if find_spec('ray') is None:
        pytest.skip("needs Ray: pip install '.[ray]'")
    with pytest.raises(EnetError, match=r'^cannot connect to Ray at 127\.0\.0\.1:9: [^\n]*$'), ProgressBars(1) as bars:
        replay_on_ray(jobs, '127.0.0.1:9', bars)

"""The CI job of docs/evaluation.md, as it is printed there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import ENET, enet
from helpers import ROOT
from recordings import cut

from enet_ros.datasets.prepared import Dataset
from enet_ros.replay.report_file import read_report


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs the job with a bag, a criteria file, the last report and a folder."""
    blocks = re.findall(r'```bash\n(.*?)```', (ROOT / 'docs' / 'evaluation.md').read_text(), re.DOTALL)
    script, = (block for block in blocks if 'replay_gate.sh' in block)
    (tmp_path / 'replay_gate.sh').write_text(script)
    program = tmp_path / 'bin' / 'enet'
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(ENET)} "$@"\n')
    program.chmod(0o755)

    def run(*arguments: object, code: int) -> str:
        done = subprocess.run(
            ['bash', str(tmp_path / 'replay_gate.sh'), *map(str, arguments)], capture_output=True, text=True, timeout=180,
            env={**os.environ, 'PATH': f'{program.parent}:{os.environ["PATH"]}'})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.splitlines()[-1]

    return run


def test_the_job_fails_on_gates_and_comparison_and_keeps_the_page(
    drawn_dataset: Callable[..., Dataset], tmp_path: Path, job: Callable[..., str],
) -> None:
    bag, gates, first, second = (tmp_path / name for name in ('drive.mcap', 'gates.yaml', 'first', 'second'))
    enet('bag', drawn_dataset(val=3).root, bag, '--labels-topic', '/labels')
    gates.write_text('metrics:\n  frames: {min: 3}\n')
    assert job(bag, gates, tmp_path / 'none.json', first, code=0) == f'replay passed: {first}/report.html'
    assert job(bag, gates, first / 'report.json', second, code=0) == f'replay passed: {second}/report.html'
    assert read_report(second)['comparison'] is not None

    better = json.loads((first / 'report.json').read_text())
    better['metrics']['pooled']['mean_iou'] += 0.011
    (tmp_path / 'better.json').write_text(json.dumps(better))
    assert job(bag, gates, tmp_path / 'better.json', second, code=3) == f'replay failed a gate: {second}/report.html'
    gates.write_text('metrics:\n  frames: {min: 4}\n')
    job(bag, gates, first, tmp_path / 'third', code=3)
    assert 'frames is 3: must be at least 4' in (tmp_path / 'third' / 'replay.log').read_text()
    assert (tmp_path / 'third' / 'report.html').exists()


def test_the_job_fails_on_half_a_drive_and_without_a_report(
    drawn_dataset: Callable[..., Dataset], tmp_path: Path, job: Callable[..., str],
) -> None:
    bag, gates, out = (tmp_path / name for name in ('drive.mcap', 'gates.yaml', 'out'))
    enet('bag', drawn_dataset(val=6, width=480, height=360).root, bag, '--labels-topic', '/labels')
    cut(bag, bag.stat().st_size // 2)
    gates.write_text('metrics:\n  frames: {min: 1}\n')
    assert 'is incomplete' in job(bag, gates, tmp_path / 'none.json', out, code=4)
    gates.write_text('metric: {}\n')
    assert job(bag, gates, tmp_path / 'none.json', out, code=1) == f'replay gave no report, see {out}/replay.log'
    assert 'unknown key "metric"' in (out / 'replay.log').read_text()

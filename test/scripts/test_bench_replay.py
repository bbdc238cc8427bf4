from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers import ROOT
from truth_bags import frame, write_entries

_BENCH = ROOT / 'scripts' / 'bench_replay.py'


def test_engine_and_replay_are_measured_on_the_same_bag(tmp_path: Path) -> None:
    bag = write_entries(tmp_path / 'drive', [entry for number in range(6) for entry in frame(number)])
    command = [sys.executable, str(_BENCH), str(bag), '--labels-topic', '/labels', '--rounds', '2']
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    figures = r'[\d.]+ ms \([\d.]+ to [\d.]+\)'
    assert re.fullmatch(rf'engine alone {figures}, replay {figures}: \d+ %\n', done.stdout)

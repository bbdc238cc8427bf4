"""Run rounds of test/fuzz, each with a new random seed, until the time is over. Save what fails and how to repeat it."""

from __future__ import annotations

import argparse
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'out' / 'fuzz'
_COUNTS = re.compile(r'^ *(\d+) read +(\d+) refused +(\w+)', re.MULTILINE)
_FAILED = re.compile(r'^(?:FAILED|ERROR) (\S+)', re.MULTILINE)


def main() -> int:
    """Return 1 if an input failed, or else 0."""
    parser = argparse.ArgumentParser(description=__doc__, epilog='Other arguments are those of pytest, such as -k bag.')
    parser.add_argument('--minutes', type=float, default=10, help='time of all rounds (default: 10)')
    parser.add_argument('--seed', type=int, help='run one round with this seed, to its end')
    args, pytest = parser.parse_known_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background, and so would pytest
    end = time.monotonic() + 60 * args.minutes
    totals: Counter[str] = Counter()
    failed = False
    with suppress(KeyboardInterrupt):
        while True:
            seed = secrets.randbits(32) if args.seed is None else args.seed
            failed |= _run(seed, None if args.seed is not None else end - time.monotonic(), pytest, totals)
            if args.seed is not None or time.monotonic() >= end:
                break
    for name, count in sorted(totals.items()):
        print(f'{count:9} {name}')
    return int(failed)


def _run(seed: int, seconds: float | None, pytest: Sequence[str], totals: Counter[str]) -> bool:
    """Run one round, for at most `seconds`, and add its counts to `totals`. Return whether an input failed."""
    OUT.mkdir(parents=True, exist_ok=True)
    log = OUT / f'{seed}.txt'
    command = [str(Path(sys.executable).with_name('pytest')), 'test/fuzz', '--hypothesis-profile', 'long',
               f'--hypothesis-seed={seed}', *pytest]
    with log.open('w', encoding='utf-8') as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # pytest reports what it has done
            process.wait()
            code = 0
    text = log.read_text(encoding='utf-8', errors='replace')
    for read, refused, test in _COUNTS.findall(text):
        totals.update({f'{test}: read': int(read), f'{test}: refused': int(refused), 'all': int(read) + int(refused)})
    failures = sorted(set(_FAILED.findall(text)))
    print(f'seed {seed}: {len(failures)} failed, {totals["all"]} inputs in all rounds', flush=True)
    for test in failures:
        name = test.rpartition('::')[2].partition('[')[0]
        print(f'  {test}: see {log}, repeat with: scripts/fuzz.sh --seed {seed} -k {name}')
    crashed = code not in (0, 1)
    if crashed:  # a crash, or arguments that pytest refuses
        print(f'  pytest ended with {code}: see {log}, repeat with: scripts/fuzz.sh --seed {seed}')
    elif not failures:
        log.unlink()
    return crashed or bool(failures)


if __name__ == '__main__':
    sys.exit(main())

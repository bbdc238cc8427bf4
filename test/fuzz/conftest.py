from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_inputs import COUNTS
from hypothesis import HealthCheck, Phase, settings

# each example replaces the files of the one before, so that fixtures of a function may be shared by all
_SUPPRESSED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
settings.register_profile('short', max_examples=60, derandomize=True, deadline=None, database=None,
                          phases=(Phase.explicit, Phase.generate), suppress_health_check=_SUPPRESSED)
# scripts/fuzz.sh: a round of many; it gives each round a seed, and repeats rounds until the time is over
settings.register_profile('long', max_examples=500, deadline=None, database=None, print_blob=True,
                          suppress_health_check=_SUPPRESSED)
settings.load_profile('short')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file without suffix for the input."""
    return tmp_path / 'input'


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section('inputs of fuzz tests')
        for test, counts in COUNTS.items():
            terminalreporter.write_line(f'{counts["read"]:8} read {counts["refused"]:8} refused  {test}')

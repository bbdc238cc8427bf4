from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_inputs import COUNTS
from hypothesis import HealthCheck, Phase, settings

# each example replaces the files of the one before, so that all examples may share the fixtures of a function
_SUPPRESSED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
               HealthCheck.large_base_example)
# the same inputs in each run; without the search for a smaller input that fails, too, which can take minutes
settings.register_profile('short', max_examples=50, derandomize=True, deadline=None, database=None,
                          phases=(Phase.explicit, Phase.generate), suppress_health_check=_SUPPRESSED)
# a round of scripts/fuzz.sh, which repeats rounds with other seeds until its time is over
settings.register_profile('long', max_examples=100, deadline=None, database=None, suppress_health_check=_SUPPRESSED)
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

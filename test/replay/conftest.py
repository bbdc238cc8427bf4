"""A bag with ground truth."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from truth_bags import frame, write_entries


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of ten images at 5 Hz with ground truth."""
    return write_entries(tmp_path_factory.mktemp('drive') / 'drive', chain(*(frame(number) for number in range(10))))

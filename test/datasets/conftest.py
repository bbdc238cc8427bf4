from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import CLASSES


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Return a classes file."""
    path = tmp_path / 'classes.yaml'
    path.write_text(CLASSES)
    return path

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from command import refused

from enet_ros.datasets.prepared import Dataset


def test_a_missing_dataset_or_recipe_is_refused(drawn_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    assert 'no dataset.yaml' in refused('train', '--data', tmp_path, '--out', tmp_path / 'run')
    dataset = drawn_dataset()
    assert 'no recipe for dataset "drawn"' in refused('train', '--data', dataset.root, '--out', tmp_path / 'run')
    assert 'no recipe' in refused('train', '--data', dataset.root, '--out', tmp_path / 'run', '--config', tmp_path / 'none')

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import CLASSES, LABELS, read_ids

from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.images.files import write_image


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Return a classes file."""
    path = tmp_path / 'classes.yaml'
    path.write_text(CLASSES)
    return path


@pytest.fixture
def source(tmp_path: Path) -> SourceDataset:
    """Return a source of six training and two validation images of noise."""
    generator = np.random.default_rng(0)
    splits: dict[str, list[Pair]] = {'train': [], 'val': []}
    for split, count in (('train', 6), ('val', 2)):
        for number in range(count):
            pair = Pair.of(tmp_path / 'src' / f'{split}{number}.png', tmp_path / 'src' / f'{split}{number}_l.png')
            write_image(pair.image_path, generator.integers(0, 255, (24, 32, 3), np.uint8))
            write_image(pair.labels_path, generator.integers(0, 3, (24, 32), np.uint8))
            splits[split].append(pair)
    return SourceDataset('noise', LABELS, splits, read_ids, 'drawn', 'free')

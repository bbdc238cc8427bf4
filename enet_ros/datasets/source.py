"""What a converter returns: the files of a published dataset and how to read their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import DatasetError
from enet_ros.labels import LabelSet

Size: TypeAlias = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Pair:
    """An image and the file that holds its labels, as published. `name` is the stem in the prepared layout."""

    image_path: Path
    labels_path: Path
    name: str

    @classmethod
    def of(cls, image_path: Path, labels_path: Path) -> Pair:
        """Make a pair that keeps the name of the image."""
        return cls(image_path, labels_path, image_path.stem)

    @property
    def files(self) -> tuple[Path, Path]:
        """Return the paths of both files."""
        return self.image_path, self.labels_path


@dataclass(frozen=True)
class SourceDataset:
    """A dataset in its published layout."""

    name: str
    labels: LabelSet
    splits: Mapping[str, Sequence[Pair]]
    to_ids: Callable[[Pair, Size], NDArray[np.uint8]]
    """Reads the labels of a pair, whose image has the given size, as class ids (H x W, uint8, 255 = void). Called from
    several threads."""
    source: str
    license: str
    settings: str = ''
    """Anything else that decides the labels, such as the classes file. A change of it makes a conversion start over."""
    root: Path | None = None
    """Folder that all files must be in, links resolved. None if the paths were not taken from annotation files."""
    left_out: Sequence[DatasetError] = ()
    """Files that are in none of the splits although they should be, with the reasons."""
    notes: Sequence[str] = ()
    """Files that the layout has for other purposes, and that are not converted therefore."""

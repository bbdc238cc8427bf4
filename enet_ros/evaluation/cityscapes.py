"""Predictions in the form that the official scripts of Cityscapes read: images of label ids instead of train ids."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.labels import CITYSCAPES, CITYSCAPES_LABEL_IDS

_LABEL_IDS = np.zeros(256, np.uint8)  # void becomes 0, their "unlabeled"
_LABEL_IDS[: len(CITYSCAPES)] = CITYSCAPES_LABEL_IDS


def check_exportable(dataset: Dataset) -> None:
    """Refuse a dataset that the official scripts have no label ids for.

    Raises:
        DatasetError: its classes are not the 19 of Cityscapes.

    """
    if dataset.labels.names != CITYSCAPES.names:
        raise DatasetError(
            f'the dataset {dataset.root} has {len(dataset.labels)} classes ({", ".join(dataset.labels.names[:3])}, ...): '
            f'only the {len(CITYSCAPES)} of Cityscapes can be exported, leave --export out'
        )


def write_label_ids(folder: Path, name: str, labels: NDArray[np.uint8]) -> None:
    """Write `labels` (H x W train ids, uint8, 255 = void) as label ids into `folder`/`name`.png.

    The official scripts find it when `name` begins with the image's city, sequence and frame, as Cityscapes' names do.

    Raises:
        EnetError: the file cannot be written.

    """
    write_image(folder / f'{name}.png', cv2.LUT(labels, _LABEL_IDS))

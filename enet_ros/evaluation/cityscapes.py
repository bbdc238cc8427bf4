"""Write predictions as the official scripts of Cityscapes read them: images of label ids instead of train ids."""

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
    """Check that the official scripts have label ids for the classes of `dataset`.

    Raises:
        DatasetError: the classes are not the 19 of Cityscapes.

    """
    if dataset.labels.names != CITYSCAPES.names:
        first = ', '.join(dataset.labels.names[:3])
        raise DatasetError(f'dataset {dataset.root} has {len(dataset.labels)} classes ({first}, ...), --export needs the '
                           f'{len(CITYSCAPES)} of Cityscapes: remove --export')


def write_label_ids(folder: Path, name: str, labels: NDArray[np.uint8]) -> None:
    """Write `labels` (H x W train ids, uint8, 255 = void) as label ids into `folder`/`name`.png.

    `name` must start with city, sequence and frame, like the names of Cityscapes: the official scripts search for them.

    Raises:
        EnetError: the file cannot be written.

    """
    write_image(folder / f'{name}.png', cv2.LUT(labels, _LABEL_IDS))

from __future__ import annotations

import numpy as np

from enet_ros.images.overlay import blend
from enet_ros.labels import CAMVID, VOID


def test_an_overlay_mixes_the_colors_of_classes_and_leaves_void_unchanged() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    labels = np.array([[3, VOID], [3, 8]], np.uint8)
    palette = CAMVID.palette()
    mixed = blend(image, labels, palette, 0.5)
    assert mixed[0, 0].tolist() == [114, 82, 114]  # road is 128, 64, 128
    assert mixed[0, 1].tolist() == [100, 100, 100]
    assert mixed[1, 1].tolist() == [82, 50, 114]  # car is 64, 0, 128
    assert (blend(image, labels, palette, 0.0) == image).all()
    assert (blend(image, labels, palette, 1.0)[0, 0] == palette[3]).all()
    assert (image == 100).all()


def test_labels_of_another_size_are_fitted_to_the_image() -> None:
    labels = np.array([[3, 8]], np.uint8)
    colors = blend(np.zeros((2, 4, 3), np.uint8), labels, CAMVID.palette(), 1.0)
    assert (colors == CAMVID.palette()[labels.repeat(2, 0).repeat(2, 1)]).all()

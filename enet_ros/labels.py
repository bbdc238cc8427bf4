"""Label sets: which classes a network tells apart, and the colours they are drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError

VOID = 255
"""Label id of a pixel that belongs to no class: unlabelled in ground truth, disabled in a prediction."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset, in label-id order, with one RGB colour each.

    Raises:
        EnetError: no class at all, more than 255, a name twice, or as many colours as classes missing.

    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        """Check what every user of a label set relies on."""
        if not 0 < len(self.names) <= VOID:
            raise EnetError(f'{len(self.names)} class names: a label set has 1 to {VOID}, since {VOID} means void')
        for name in self.names:
            if not isinstance(name, str) or not name:
                raise EnetError(f'class name {name!r} is no text: put it in quotes')
            if ',' in name:
                raise EnetError(f'class name "{name}" has a comma, which separates names elsewhere: rename it')
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise EnetError(f'class name "{twice[0]}" stands more than once: names must differ')
        if len(self.colors) != len(self.names):
            raise EnetError(f'{len(self.colors)} colours for {len(self.names)} classes: give each class one')
        for name, color in zip(self.names, self.colors):
            if len(color) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
                raise EnetError(f'colour {color} of class "{name}": give three whole numbers from 0 to 255 (RGB)')

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    def palette(self) -> NDArray[np.uint8]:
        """Return the colour of every label id: 256 x 3, uint8, RGB; black where there is no class."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        return palette

    def keep_only(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Return the table (256, uint8) that maps the ids of `names` to themselves and every other id to void.

        Raises:
            EnetError: a name that is not in the set, or no name at all.

        """
        if not names:
            raise EnetError(f'no class to report: choose at least one of {", ".join(self.names)}')
        table = np.full(256, VOID, np.uint8)
        for name in names:
            if name not in self.names:
                raise EnetError(f'class "{name}" is not one of the model\'s: choose from {", ".join(self.names)}')
            index = self.names.index(name)
            table[index] = index
        return table


def _label_set(classes: dict[str, Color]) -> LabelSet:
    return LabelSet(tuple(classes), tuple(classes.values()))


# The 11 classes of the SegNet split (Badrinarayanan et al. 2015) in its id order; colours of CamVid's label_colors.txt.
CAMVID = _label_set({
    'Sky': (128, 128, 128),
    'Building': (128, 0, 0),
    'Pole': (192, 192, 128),
    'Road': (128, 64, 128),
    'Pavement': (0, 0, 192),
    'Tree': (128, 128, 0),
    'SignSymbol': (192, 128, 128),
    'Fence': (64, 64, 128),
    'Car': (64, 0, 128),
    'Pedestrian': (64, 64, 0),
    'Bicyclist': (0, 128, 192),
})

# The 19 train ids of Cityscapes with the colours of its official scripts (Cordts et al. 2016).
CITYSCAPES = _label_set({
    'road': (128, 64, 128),
    'sidewalk': (244, 35, 232),
    'building': (70, 70, 70),
    'wall': (102, 102, 156),
    'fence': (190, 153, 153),
    'pole': (153, 153, 153),
    'traffic light': (250, 170, 30),
    'traffic sign': (220, 220, 0),
    'vegetation': (107, 142, 35),
    'terrain': (152, 251, 152),
    'sky': (70, 130, 180),
    'person': (220, 20, 60),
    'rider': (255, 0, 0),
    'car': (0, 0, 142),
    'truck': (0, 0, 70),
    'bus': (0, 60, 100),
    'train': (0, 80, 100),
    'motorcycle': (0, 0, 230),
    'bicycle': (119, 11, 32),
})

# What the official scripts of Cityscapes call each of these classes in label images: its label id, in train-id order.
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The categories that they score beside the classes.
CITYSCAPES_CATEGORIES = {
    'flat': ('road', 'sidewalk'),
    'nature': ('vegetation', 'terrain'),
    'object': ('pole', 'traffic light', 'traffic sign'),
    'sky': ('sky',),
    'construction': ('building', 'wall', 'fence'),
    'human': ('person', 'rider'),
    'vehicle': ('car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
}

# The 37 classes of SUN RGB-D (Song et al. 2015), whose toolbox publishes no colours: these are the ones that papers since
# RedNet (Jiang et al. 2018) show their results in.
SUNRGBD = _label_set({
    'wall': (148, 65, 137),
    'floor': (255, 116, 69),
    'cabinet': (86, 156, 137),
    'bed': (202, 179, 158),
    'chair': (155, 99, 235),
    'sofa': (161, 107, 108),
    'table': (133, 160, 103),
    'door': (76, 152, 126),
    'window': (84, 62, 35),
    'bookshelf': (44, 80, 130),
    'picture': (31, 184, 157),
    'counter': (101, 144, 77),
    'blinds': (23, 197, 62),
    'desk': (141, 168, 145),
    'shelves': (142, 151, 136),
    'curtain': (115, 201, 77),
    'dresser': (100, 216, 255),
    'pillow': (57, 156, 36),
    'mirror': (88, 108, 129),
    'floor_mat': (105, 129, 112),
    'clothes': (42, 137, 126),
    'ceiling': (155, 108, 249),
    'books': (166, 148, 143),
    'fridge': (81, 91, 87),
    'tv': (100, 124, 51),
    'paper': (73, 131, 121),
    'towel': (157, 210, 220),
    'shower_curtain': (134, 181, 60),
    'box': (221, 223, 147),
    'whiteboard': (123, 108, 131),
    'person': (161, 66, 179),
    'night_stand': (163, 221, 160),
    'toilet': (31, 146, 98),
    'sink': (99, 121, 30),
    'lamp': (49, 89, 240),
    'bathtub': (116, 108, 9),
    'bag': (161, 176, 169),
})

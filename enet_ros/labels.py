"""Label sets: the classes of a dataset or network, and the colours they are drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError

VOID = 255
"""Label id of pixels without a class: not labelled in ground truth, or of a disabled class in a prediction."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """Classes in label-id order, with one RGB colour each.

    Raises:
        EnetError: there are no classes or more than 255, a name is not valid or not unique, or a colour is missing or not
            valid.

    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        """Check names and colours."""
        if not 0 < len(self.names) <= VOID:
            raise EnetError(f'{len(self.names)} class names: a label set must have 1 to {VOID} ({VOID} means void)')
        for name in self.names:
            if not isinstance(name, str) or not name:
                raise EnetError(f'class name {name!r} is not text: put it in quotes')
            if ',' in name:
                raise EnetError(f'class name "{name}" has a comma, which separates names in lists: rename it')
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise EnetError(f'class name "{twice[0]}" is used more than once: use distinct names')
        if len(self.colors) != len(self.names):
            raise EnetError(f'{len(self.colors)} colours for {len(self.names)} classes: give each class one colour')
        for name, color in zip(self.names, self.colors):
            if len(color) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
                raise EnetError(f'colour {color} of class "{name}" is not valid: use three integers in [0, 255] (RGB)')

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    def palette(self) -> NDArray[np.uint8]:
        """Return the colour of every label id (256 x 3, uint8, RGB). Ids without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        return palette

    def keep_only(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Return the table (256, uint8) that maps the ids of `names` to themselves and all other ids to void.

        Raises:
            EnetError: `names` is empty or holds an unknown class.

        """
        if not names:
            raise EnetError(f'no class to report: choose at least one of {", ".join(self.names)}')
        table = np.full(256, VOID, np.uint8)
        for name in names:
            if name not in self.names:
                raise EnetError(f'class "{name}" is not one of the model\'s classes: choose from {", ".join(self.names)}')
            index = self.names.index(name)
            table[index] = index
        return table


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in `text`, which are separated by commas; spaces around them and empty names are ignored."""
    return tuple(name.strip() for name in text.split(',') if name.strip())


def _label_set(classes: dict[str, Color]) -> LabelSet:
    return LabelSet(tuple(classes), tuple(classes.values()))


# The 11 classes of SegNet (Badrinarayanan et al. 2015) in its id order, with colours of CamVid's label_colors.txt.
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

# The label id of each of these classes in the label images of Cityscapes, in train-id order.
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The categories that the official scripts score as well as the classes.
CITYSCAPES_CATEGORIES = {
    'flat': ('road', 'sidewalk'),
    'nature': ('vegetation', 'terrain'),
    'object': ('pole', 'traffic light', 'traffic sign'),
    'sky': ('sky',),
    'construction': ('building', 'wall', 'fence'),
    'human': ('person', 'rider'),
    'vehicle': ('car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
}

# The 37 classes of SUN RGB-D (Song et al. 2015). Its toolbox defines no colours: these are the colours that papers since
# RedNet (Jiang et al. 2018) use.
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

"""Fit images of any size to the network, and its labels back to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

RESIZE_MODES = ('stretch', 'letterbox', 'crop')

_PADDING = (80, 80, 80)
"""Colour around the image in a letterbox: the mean grey of CamVid. It disturbs the labels beside it less than black does."""


class Rectangle(NamedTuple):
    """A part of an array of pixels, in whole pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height."""
        return self.width, self.height


@dataclass(frozen=True)
class Placement:
    """Which part of an image the network sees, and where that part lies in the network's input.

    It maps pixels of the image to pixels of the network: network = scale * image + offset, for x and y. Pixel i covers
    i to i + 1, so that offsets are 0 where both start at the same border. `image_proc` scales a CameraInfo in these
    coordinates: fx, cx and Tx become scale_x * fx, scale_x * cx + offset_x and scale_x * Tx.
    """

    image_size: tuple[int, int]
    """Width and height of the image."""
    network_size: tuple[int, int]
    """Width and height of the network's input."""
    source: Rectangle
    """The part of the image that the network sees."""
    target: Rectangle
    """Where the network sees it. The rest of its input is padding."""

    @property
    def scale_x(self) -> float:
        """Return the width of a pixel of the image, in pixels of the network."""
        return self.target.width / self.source.width

    @property
    def scale_y(self) -> float:
        """Return the height of a pixel of the image, in pixels of the network."""
        return self.target.height / self.source.height

    @property
    def offset_x(self) -> float:
        """Return where the left border of the image lies in the network, in pixels; negative if it is cropped."""
        return self.target.x - self.scale_x * self.source.x

    @property
    def offset_y(self) -> float:
        """Return where the upper border of the image lies in the network, in pixels; negative if it is cropped."""
        return self.target.y - self.scale_y * self.source.y

    def to_network(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return `image` (H x W x 3, uint8) in the size of the network; `image` itself if nothing changes."""
        return _pad(fit(_cut(image, self.source), self.target.size), self.target, self.network_size, _PADDING)

    def to_image(self, values: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Return the network's `values` (h x w, uint8) in the size of the image, by nearest neighbour.

        Pixels of the image that the network did not see become `outside`. If nothing changes, the result is `values` itself.
        """
        part = _cut(values, self.target)
        if self.target.size != self.source.size:
            part = cv2.resize(part, self.source.size, interpolation=cv2.INTER_NEAREST_EXACT)
        return _pad(part, self.source, self.image_size, outside)

    def without_padding(self, values: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Return the network's `values` (h x w, uint8) with `outside` for the padding; `values` itself if there is none."""
        return _pad(_cut(values, self.target), self.target, self.network_size, outside)


def place(image_size: tuple[int, int], network_size: tuple[int, int], mode: str) -> Placement:
    """Return how an image is fitted to a network. Sizes are width and height in pixels, at least 1.

    * `stretch`: the whole image fills the network's input. Objects are distorted where the aspect ratios differ.
    * `letterbox`: the whole image, undistorted, in the middle of the input.
    * `crop`: the largest part of the image with the aspect ratio of the network, from the middle of the image.

    Borders lie on whole pixels: "undistorted" and "middle" hold to half a pixel, and no side is below 1 pixel.

    Raises:
        ValueError: the mode is unknown.

    """
    (width, height), (network_width, network_height) = image_size, network_size
    source, target = Rectangle(0, 0, width, height), Rectangle(0, 0, network_width, network_height)
    if mode == 'letterbox':
        target = _centre(network_size, image_size)
    elif mode == 'crop':
        source = _centre(image_size, network_size)
    elif mode != 'stretch':
        raise ValueError(f'resize mode "{mode}" is unknown: choose from {", ".join(RESIZE_MODES)}')
    return Placement(image_size, network_size, source, target)


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return `image` (H x W x 3, uint8) resized to `size` (width, height), or `image` itself if it has that size."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = width > size[0] and height > size[1]
    # averaging keeps thin objects, such as poles, when an image is reduced
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _centre(size: tuple[int, int], aspect: tuple[int, int]) -> Rectangle:
    """Return the largest centred part of an array of `size` that has the ratio of width to height of `aspect`."""
    (width, height), (across, down) = size, aspect
    # in integers: equal ratios must give the whole array
    inner_width = min(width, max(1, (2 * height * across + down) // (2 * down)))
    inner_height = min(height, max(1, (2 * width * down + across) // (2 * across)))
    return Rectangle((width - inner_width) // 2, (height - inner_height) // 2, inner_width, inner_height)


def _cut(array: NDArray[np.uint8], part: Rectangle) -> NDArray[np.uint8]:
    """Return a view of `part` of `array`, or `array` itself if that is all of it."""
    if array.shape[:2] == (part.height, part.width):
        return array
    return array[part.y : part.y + part.height, part.x : part.x + part.width]


def _pad(
    array: NDArray[np.uint8], part: Rectangle, size: tuple[int, int], value: int | tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return an array of `size` with `array` at `part` and `value` around it, or `array` itself if it has that size."""
    if part.size == size:
        return array
    right, bottom = size[0] - part.x - part.width, size[1] - part.y - part.height
    return cv2.copyMakeBorder(array, part.y, bottom, part.x, right, cv2.BORDER_CONSTANT, value=value)

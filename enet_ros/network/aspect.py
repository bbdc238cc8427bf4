"""Compare the aspect ratios of cameras and networks, and find the network size for a camera."""

from __future__ import annotations

import math
from itertools import product

from enet_ros.network.architecture import SIZE_MULTIPLE

_TOLERANCE = 1.1
"""Ratio of two aspect ratios above which they differ."""


def aspect_differs(camera_size: tuple[int, int], network_size: tuple[int, int]) -> bool:
    """Return whether the ratios of width to height of two sizes (width, height) differ by more than 10 %.

    The larger ratio is divided by the smaller one, so that the order of the sizes does not matter.
    """
    across, down = camera_size[0] * network_size[1], camera_size[1] * network_size[0]
    return max(across, down) > _TOLERANCE * min(across, down)


def advise_size(
    camera_size: tuple[int, int], network_size: tuple[int, int], smallest: int, largest: int
) -> tuple[int, int] | None:
    """Return the network size (width, height) with the camera's aspect ratio and about the pixels of `network_size`.

    The exact width is sqrt(pixels * ratio), the exact height sqrt(pixels / ratio). Of the multiples of `SIZE_MULTIPLE` next
    below and above each, but from `smallest` to `largest`, it is the pair with the ratio closest to the camera's. For
    1280x720 and 480x360, the exact size is 554.3 x 311.8, and the result is 552x312. None if the ratio of that pair still
    differs by more than 10 %, which happens for cameras such as 8192x16.
    """
    ratio, pixels = camera_size[0] / camera_size[1], math.prod(network_size)

    def near(side: float) -> set[int]:
        below = int(side) // SIZE_MULTIPLE * SIZE_MULTIPLE
        return {min(max(smallest, multiple), largest) for multiple in (below, below + SIZE_MULTIPLE)}

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        """Return how far the ratio and the number of pixels are from the exact ones, as logarithms."""
        return abs(math.log(size[0] / size[1] / ratio)), abs(math.log(size[0] * size[1] / pixels))

    best = min(product(near(math.sqrt(pixels * ratio)), near(math.sqrt(pixels / ratio))), key=distance)
    return None if aspect_differs(camera_size, best) else best

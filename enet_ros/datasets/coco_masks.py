"""COCO's areas: polygons, and masks as run lengths, plain or compressed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_corners
from enet_ros.datasets.source import Size


def read_mask(segmentation: Any, size: Size, rle: ModuleType) -> NDArray[np.bool_]:  # noqa: ANN401 - JSON
    """Return the mask (H x W, True = inside) of polygons or run lengths, which pycocotools, `rle`, does not check.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, a corner is not a pair of numbers or far outside, no polygon has
            an area, or the runs do not fill the image.

    """
    if isinstance(segmentation, dict):
        runs = segmentation['counts']
        runs = np.array(_unpack(runs) if isinstance(runs, str) else runs)
        pixels = size[0] * size[1]
        # a sum of larger runs could overflow to the right number
        if tuple(segmentation['size']) != size or runs.sum() != pixels or not 0 <= runs.min() <= runs.max() <= pixels:
            raise ValueError(f'a mask of size {segmentation["size"]} with runs of {runs.sum()} pixels for an image of '
                             f'{size[0]} rows and {size[1]} columns')
        return (np.repeat(np.arange(len(runs)) % 2, runs) > 0).reshape(size[::-1]).T  # by columns, outside first
    polygons = [np.array(polygon, np.float64) for polygon in segmentation]
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) % 2:
            raise ValueError('a polygon is not a list x, y, x, y, ...')
        check_corners(polygon, size)
    areas = [polygon.tolist() for polygon in polygons if len(polygon) >= 6]
    if not areas:
        raise ValueError('no polygon has three corners')
    mask: NDArray[np.uint8] = rle.decode(rle.merge(rle.frPyObjects(areas, *size)))
    return mask > 0


def _unpack(text: str) -> list[int]:
    """Return the run lengths of a compressed mask (maskApi.c of COCO).

    Each character holds five bits of a number, the lowest first. Bit 32 means that more follow. The highest bit of the last
    character is the sign. From the fourth number on, a number is the difference to the run two before it.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        if shift > 60:
            raise ValueError('a mask has a run of more than 60 bits')
        bits = ord(character) - 48
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return runs

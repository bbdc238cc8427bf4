"""How a dataset encodes classes in its label images: as ids in one channel, or as colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import DatasetError
from enet_ros.images.files import read_pixels
from enet_ros.images.integrity import check_whole
from enet_ros.labels import VOID, Color

_NONE = 256  # stands for "not in the coding": class ids and void fit into 8 bits


@dataclass(frozen=True)
class Coding:
    """The class id (255 = void) of each id and each RGB colour in the label images of a dataset."""

    ids: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[Color, int] = field(default_factory=dict)

    def read(self, path: Path, unknown: int | None = None) -> NDArray[np.uint8]:
        """Read a label image as class ids (H x W, uint8, 255 = void). Values that are not in the coding become `unknown`.

        Raises:
            ImageFileError: the file is missing, damaged or not an image.
            DatasetError: the image is not an 8-bit one, or `unknown` is None and a value is not in the coding.

        """
        check_whole(path)
        pixels = read_pixels(path, cv2.IMREAD_UNCHANGED)
        depth, has_palette = _png_samples(path)
        if depth < 8 and not has_palette and pixels.ndim == 2:
            pixels = self._choose_reading(path, pixels, depth)
        if pixels.dtype != np.uint8:
            raise DatasetError(f'{path} has type {pixels.dtype}: label images must have 8 bits')
        coded = self._decode(path, pixels)
        missed = coded == _NONE
        if missed.any():
            if unknown is None:
                value = pixels[missed].min() if pixels.ndim == 2 else tuple(pixels[missed][0, 2::-1].tolist())
                kind = 'label id' if pixels.ndim == 2 else 'palette colour' if has_palette else 'colour'
                raise DatasetError(
                    f'{path} holds {kind} {value}, which is not a class: correct the file or add the value to the classes'
                )
            coded[missed] = unknown
        return coded.astype(np.uint8)

    def _choose_reading(self, path: Path, stretched: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
        """Return the ids in a PNG with fewer than 8 bits: its plain values, or the values `stretched` to [0, 255].

        Some programs save ids this way. Others save a picture, which every reader stretches to black and white. The reading
        with values that are all in the coding is the right one.

        Raises:
            DatasetError: both are.

        """
        plain = stretched // (255 // (2**depth - 1))
        # 0 is 0 in both readings, and the highest value is stretched to 255, which is void by default: neither is evidence
        is_picture = self._knows(stretched) and any(self.ids[value] != VOID for value in np.unique(stretched) if value)
        if is_picture and self._knows(plain):
            raise DatasetError(f'{path} has {depth}-bit pixels, so its ids may be up to {plain.max()} or, stretched to 8 '
                               f'bits, up to {stretched.max()}: save it with 8 bits')
        return stretched if is_picture else plain

    def _knows(self, ids: NDArray[np.uint8]) -> bool:
        return set(np.unique(ids).tolist()) <= self.ids.keys()

    def _decode(self, path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Look up ids (H x W, uint8) or colours (H x W x 3 or 4, uint8, BGR)."""
        if pixels.ndim == 2:
            if not self.ids:
                raise DatasetError(f'{path} has one channel: this dataset needs label images in colour')
            return self._id_table[pixels]
        if not self.colors:
            raise DatasetError(f'{path} has shape {pixels.shape}: this dataset needs label images with one channel of ids')
        wide = pixels.astype(np.uint32)
        return self._color_table[wide[..., 2] << 16 | wide[..., 1] << 8 | wide[..., 0]]

    @cached_property
    def _id_table(self) -> NDArray[np.uint16]:
        table = np.full(256, _NONE, np.uint16)
        table[list(self.ids)] = list(self.ids.values())
        return table

    @cached_property
    def _color_table(self) -> NDArray[np.uint16]:
        table = np.full(1 << 24, _NONE, np.uint16)  # 32 MiB: by far the fastest way from colours to ids
        for (red, green, blue), index in self.colors.items():
            table[red << 16 | green << 8 | blue] = index
        return table


def _png_samples(path: Path) -> tuple[int, bool]:
    """Return the bits of a sample in a PNG and whether it is a palette index. 8 and False for other files."""
    with path.open('rb') as file:
        header = file.read(26)  # signature, length and type of the first chunk, width, height, bit depth, colour type
    return (header[24], header[25] == 3) if header.startswith(b'\x89PNG') else (8, False)

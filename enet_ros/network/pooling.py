"""2x2 max pooling that keeps the positions of the maxima, and its inverse, in two forms with bit-identical results.

`IndexPooling` is PyTorch's own pair, and the faster one inside PyTorch. `CornerPooling` uses comparisons, selects and
nearest-neighbour upsampling, which every inference runtime has. ONNX and TensorRT have no counterpart of PyTorch's pair.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Pooling(Protocol):
    """A 2x2 max pool with stride 2 and its inverse. Only `unpool` of the same class understands the positions of `pool`."""

    def pool(self, image: Tensor) -> tuple[Tensor, Any]:
        """Return the maxima (N x C x H//2 x W//2) of `image` (N x C x H x W) and their positions."""

    def unpool(self, pooled: Tensor, positions: Any, size: tuple[int, int]) -> Tensor:  # noqa: ANN401 - each class has its own
        """Return N x C x `size`: each value of `pooled` at the position of its maximum, zeros elsewhere."""


class IndexPooling:
    """PyTorch's max_pool2d and max_unpool2d."""

    def pool(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maxima (N x C x H//2 x W//2) of `image` (N x C x H x W) and their flat indices."""
        maxima, indices = functional.max_pool2d(image, 2, 2, return_indices=True)
        return maxima, indices

    def unpool(self, pooled: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
        """Return N x C x `size`: each value of `pooled` at the position of its maximum, zeros elsewhere."""
        return functional.max_unpool2d(pooled, positions, [2, 2], [2, 2], output_size=size)


class CornerPooling:
    """The same with comparisons and selects. The positions are a mask of the full size that marks the maxima.

    Comparisons are strict, so that on a tie the first corner in row order wins, as in max_pool2d. Comparing the input with
    the upsampled maxima instead would mark all tied corners.
    """

    def pool(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maxima (N x C x H//2 x W//2) of `image` (N x C x H x W) and their mask (bool, of all whole windows)."""
        height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
        top_left, top_right = image[..., 0:height:2, 0:width:2], image[..., 0:height:2, 1:width:2]
        bottom_left, bottom_right = image[..., 1:height:2, 0:width:2], image[..., 1:height:2, 1:width:2]
        right_of_top, right_of_bottom = top_right > top_left, bottom_right > bottom_left
        top = torch.where(right_of_top, top_right, top_left)
        bottom = torch.where(right_of_bottom, bottom_right, bottom_left)
        below = bottom > top
        pooled = torch.where(below, bottom, top)
        # the number of the corner: 0 1 in the upper row, 2 3 in the lower; as floats, because runtimes upsample only floats
        corner = torch.where(below, right_of_bottom.to(image.dtype) + 2, right_of_top.to(image.dtype))
        rows, columns = torch.arange(height, device=image.device) % 2, torch.arange(width, device=image.device) % 2
        return pooled, _double(corner) == (2 * rows[:, None] + columns).to(image.dtype)

    def unpool(self, pooled: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
        """Return N x C x `size`: each value of `pooled` at the position of its maximum, zeros elsewhere."""
        full = torch.where(positions, _double(pooled), torch.zeros((), dtype=pooled.dtype, device=pooled.device))
        rows, columns = size[0] - full.shape[-2], size[1] - full.shape[-1]
        return functional.pad(full, (0, columns, 0, rows)) if rows or columns else full


def _double(image: Tensor) -> Tensor:
    """Return `image` in twice the size, each pixel repeated."""
    return functional.interpolate(image, scale_factor=2, mode='nearest')

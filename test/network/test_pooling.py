from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.network.pooling import CornerPooling, IndexPooling, Pooling

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
# PyTorch's own unpooling does not support 16-bit floats on every CPU
CASES = [(IndexPooling(), torch.float32), *((CornerPooling(), dtype) for dtype in FLOATS)]


def _bits(tensor: Tensor) -> Tensor:
    """Return the bit pattern, in which -0 and +0 differ."""
    return tensor.contiguous().view({2: torch.int16, 4: torch.int32}[tensor.element_size()])


def _equals_pytorch(pooling: Pooling, image: Tensor) -> None:
    expected, indices = functional.max_pool2d(image, 2, 2, return_indices=True)
    pooled, positions = pooling.pool(image)
    assert torch.equal(_bits(pooled), _bits(expected))
    # other values than the maxima, as in the decoder, so that they only show the positions
    values = torch.arange(1, expected.numel() + 1).remainder(251).reshape(expected.shape).to(image.dtype)
    size = (image.shape[-2], image.shape[-1])
    unpooled = pooling.unpool(values, positions, size)
    # in float32, because of the CPUs without 16-bit unpooling; these values are exact in all types
    expected_unpooled = functional.max_unpool2d(values.float(), indices, 2, 2, output_size=list(size))
    assert torch.equal(unpooled.float(), expected_unpooled)


@pytest.mark.parametrize('size', [(8, 12), (7, 9), (2, 2), (3, 2)], ids=str)
@pytest.mark.parametrize(('pooling', 'dtype'), CASES)
def test_pooling_and_unpooling_equal_pytorch(pooling: Pooling, size: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    _equals_pytorch(pooling, torch.randn(2, 5, *size, generator=generator).to(dtype))


@pytest.mark.parametrize('dtype', FLOATS)
def test_ties_signed_zeros_and_infinities_equal_pytorch(dtype: torch.dtype) -> None:
    # every arrangement of these values over the four corners of a window, so all possible ties
    values = torch.tensor([-torch.inf, -1.0, -0.0, 0.0, 1.0, torch.inf])
    corners = torch.cartesian_prod(values, values, values, values)
    image = corners.reshape(-1, 1, 2, 2).to(dtype)
    _equals_pytorch(CornerPooling(), image)


def test_only_the_first_corner_wins_a_tie() -> None:
    pooled, positions = CornerPooling().pool(torch.ones(1, 1, 2, 2))
    assert CornerPooling().unpool(pooled, positions, (2, 2)).tolist() == [[[[1, 0], [0, 0]]]]

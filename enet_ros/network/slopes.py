"""The slopes that the PReLUs of an ENet learned, by depth. Free of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# ENet's blocks in the order of the forward pass, by the names of `enet.py`
_BLOCKS = (
    'encoder.initial',
    'encoder.down1', *(f'encoder.stage1.{number}' for number in range(4)),
    'encoder.down2', *(f'encoder.stage2.{number}' for number in range(8)),
    *(f'encoder.stage3.{number}' for number in range(8)),
    'decoder.up4', *(f'decoder.stage4.{number}' for number in range(2)),
    'decoder.up5', 'decoder.stage5.0',
)
# within a block: after the projection, the main convolution and the addition
_PLACES = ('branch.1', 'branch.3', 'activation')


@dataclass(frozen=True)
class Slopes:
    """The slopes of the channels of one PReLU."""

    layer: str
    """Name of the module in `enet.py`, for example encoder.stage1.0.activation."""
    mean: float
    min: float
    max: float

    @property
    def part(self) -> str:
        """Return the part of the network: encoder or decoder."""
        return self.layer.partition('.')[0]

    @property
    def ends_block(self) -> bool:
        """Return whether it follows the addition at the end of a block."""
        return self.layer.endswith('.activation')


def prelu_slopes(weights: Mapping[str, NDArray[np.float32]]) -> list[Slopes]:
    """Return the slopes of every PReLU in the weights of an ENet, in the order of the forward pass."""
    layers = (f'{block}.{place}' for block in _BLOCKS for place in _PLACES)
    learned = ((layer, weights[f'{layer}.weight']) for layer in layers if f'{layer}.weight' in weights)
    return [Slopes(layer, float(values.mean()), float(values.min()), float(values.max())) for layer, values in learned]

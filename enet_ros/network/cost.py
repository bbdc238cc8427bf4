"""What a network costs: parameters and floating-point operations."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """The figures of the paper's Table 3."""

    parameters: int
    """Number of trainable parameters."""
    flops: int
    """Floating-point operations of all convolutions for one image; a multiply-add counts as two."""


def cost(network: nn.Module, width: int, height: int) -> Cost:
    """Count the cost of `network` on one image of `width` x `height` pixels, from shapes alone."""
    shapes_only = copy.deepcopy(network).to('meta').eval()
    with FlopCounterMode(display=False) as counter:
        shapes_only(torch.empty(1, 3, height, width, device='meta'))
    return Cost(sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops())

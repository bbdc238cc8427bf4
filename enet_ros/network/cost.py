"""The cost of a network: parameters, floating-point operations and memory traffic."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """The figures of the paper's Table 3."""

    parameters: int
    """Number of trainable parameters."""
    flops: int
    """Floating-point operations of all convolutions for one image; a multiply-add counts as two."""
    traffic: int
    """Values that all convolutions read (inputs and weights) and write (outputs) for one image. Other operations are not
    counted: a runtime can fuse them into the convolutions."""


def cost(network: nn.Module, width: int, height: int) -> Cost:
    """Return the cost of `network` for one image of `width` x `height` pixels, from shapes without computing anything."""
    shapes_only = copy.deepcopy(network).to('meta').eval()
    traffic = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal traffic
        traffic += inputs[0].numel() + output.numel() + sum(parameter.numel() for parameter in module.parameters())

    for module in shapes_only.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        shapes_only(torch.empty(1, 3, height, width, device='meta'))
    return Cost(sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops(), traffic)

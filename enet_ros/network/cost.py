"""What a network costs: parameters and floating-point operations."""

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
    """Values that pass through memory for one image if every convolution reads its input and weights and writes its output,
    and everything between them is joined to them."""


def cost(network: nn.Module, width: int, height: int) -> Cost:
    """Count the cost of `network` on one image of `width` x `height` pixels, from shapes alone."""
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

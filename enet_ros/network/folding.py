"""Fold batch normalisation into convolutions: the same function with fewer operations."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from enet_ros.network.layers import ConvNorm

Network = TypeVar('Network', bound=nn.Module)


def fold(network: Network) -> Network:
    """Return a copy of `network` for inference: every `ConvNorm` one convolution, no dropout, in evaluation mode.

    Fold before casting to a smaller type: the products are rounded once, in float32.
    The 3 pooled channels of the initial block keep their normalisation, for no convolution stands before it.
    """
    folded = copy.deepcopy(network).eval()
    _fold_children(folded)
    return folded


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ConvNorm):
            transposed = isinstance(child.convolution, nn.ConvTranspose2d)
            setattr(module, name, fuse_conv_bn_eval(child.convolution, child.norm, transposed))
        elif isinstance(child, nn.Dropout2d):
            setattr(module, name, nn.Identity())
        else:
            _fold_children(child)

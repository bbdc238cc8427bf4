"""Fold batch normalisation into convolutions: fewer operations for the same result."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from enet_ros.network.layers import ConvNorm

Network = TypeVar('Network', bound=nn.Module)


def fold(network: Network) -> Network:
    """Return a copy of `network` for inference: in evaluation mode, each `ConvNorm` as one convolution, without dropout.

    Fold before casting to a smaller type, so that the folded weights are rounded once. The normalisation of the 3 pooled
    channels of ENet's initial block stays: it does not follow a convolution.
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

"""Class weights and the loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.labels import VOID


def class_weights(pixels: Tensor, constant: float) -> Tensor:
    """Return 1 / ln(constant + p) for each class (paper section 5.2), p = its share of `pixels`, which exclude void."""
    counts = pixels.double()
    return (1 / torch.log(constant + counts / counts.sum())).float()


def segmentation_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted cross entropy summed over all pixels that are not void, and the sum of their weights.

    The first divided by the second is the mean loss.

    Args:
        scores: N x C x H x W class scores.
        labels: N x H x W class ids, uint8, 255 = void.
        weights: C class weights.

    """
    losses = functional.cross_entropy(scores.float(), labels.long(), weights, ignore_index=VOID, reduction='sum')
    # masked, not selected: a selection has a size that a GPU would have to report before the next operation
    pixel_weights = weights[labels.long().clamp(max=len(weights) - 1)].masked_fill(labels == VOID, 0)
    return losses, pixel_weights.sum()

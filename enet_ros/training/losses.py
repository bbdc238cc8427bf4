"""Class weights and the loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.labels import VOID


def class_weights(pixels: Tensor, constant: float) -> Tensor:
    """Return 1 / ln(constant + p) for each class, p being its share of the non-void `pixels` (paper section 5.2)."""
    counts = pixels.double()
    return (1 / torch.log(constant + counts / counts.sum())).float()


def segmentation_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted cross entropy summed over the pixels that are not void, and the sum of their weights.

    Their quotient is the mean. `scores` is N x C x H x W, `labels` N x H x W of class ids (255 = void), `weights` C.
    """
    losses = functional.cross_entropy(scores.float(), labels.long(), weights, ignore_index=VOID, reduction='sum')
    # not by selecting pixels, whose number a GPU would have to tell before it goes on
    of_pixels = weights[labels.long().clamp(max=len(weights) - 1)].masked_fill(labels == VOID, 0)
    return losses, of_pixels.sum()

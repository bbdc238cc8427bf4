"""Class weights and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.labels import VOID


def class_weights(pixels: Sequence[int], constant: float) -> Tensor:
    """Return 1 / ln(constant + p) for each class, p being its share of the non-void `pixels` (paper section 5.2)."""
    counts = torch.tensor(pixels, dtype=torch.float64)
    return (1 / torch.log(constant + counts / counts.sum())).float()


def segmentation_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean cross entropy over the pixels that are not void.

    `scores` is N x C x H x W, `labels` N x H x W of class ids (255 = void), `weights` C. Zero when every pixel is void.
    """
    losses = functional.cross_entropy(scores.float(), labels.long(), weights, ignore_index=VOID, reduction='sum')
    total = weights[labels[labels != VOID].long()].sum()
    return losses / total.clamp(min=torch.finfo(total.dtype).tiny)

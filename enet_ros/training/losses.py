"""Class weights and the losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.labels import VOID

LOVASZ_STRIDE = 3
"""The Lovasz-softmax loss takes every third pixel of every third row: it sorts all pixels once for each class."""


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


def lovasz_softmax(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the Lovasz-softmax loss, averaged over the classes in `labels` (Berman et al. 2018).

    For one class, the Jaccard loss of a set of wrong pixels is 1 - IoU. Its Lovasz extension to errors in [0, 1], the
    distances of the probabilities from 0 or 1, is the sum of the errors from the largest to the smallest, each times the
    amount by which its pixel raises the Jaccard loss of the pixels before it.

    Args:
        scores: N x C x H x W class scores.
        labels: N x H x W class ids, uint8, 255 = void. Pixels of all images are counted together; void is ignored.

    """
    known = (labels != VOID).flatten()
    classes = torch.arange(scores.shape[1], device=scores.device, dtype=labels.dtype)
    truth = (labels.flatten() == classes[:, None]).float()  # C x pixels
    probabilities = scores.float().softmax(1).transpose(0, 1).flatten(1)
    # void has error 0: it is last and adds nothing
    errors, order = ((truth - probabilities).abs() * known).sort(1, descending=True)
    truth = truth.gather(1, order)
    total = truth.sum(1, keepdim=True)
    jaccard = 1 - (total - truth.cumsum(1)) / (total + (1 - truth).cumsum(1)).clamp(min=1)
    rises = jaccard.diff(dim=1, prepend=torch.zeros_like(total))
    present = total[:, 0] > 0
    return ((errors * rises).sum(1) * present).sum() / present.sum().clamp(min=1)

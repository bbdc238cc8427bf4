from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from enet_ros.labels import VOID
from enet_ros.training.losses import class_weights, lovasz_softmax, segmentation_loss


def test_class_weights_are_those_of_the_paper() -> None:
    weights = class_weights(torch.tensor([900, 100, 0]), 1.02)
    expected = [1 / math.log(1.02 + share) for share in (0.9, 0.1, 0)]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-5)
    assert 50 < weights[2] < 51  # paper section 5.2: "in the interval of [1, 50]"


def test_loss_ignores_void_and_weights_classes() -> None:
    scores = torch.tensor([[[[2.0, 0.0, 9.0]], [[0.0, 1.0, -9.0]]]])
    labels = torch.tensor([[[0, 1, VOID]]], dtype=torch.uint8)
    weights = torch.tensor([1.0, 3.0])
    first, second = math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))
    total, weight = segmentation_loss(scores, labels, weights)
    assert total.item() == pytest.approx(first + 3 * second) and weight.item() == 4


def test_loss_of_void_only_is_zero_and_has_a_gradient() -> None:
    scores = torch.zeros(1, 2, 2, 2, requires_grad=True)
    total, weight = segmentation_loss(scores, torch.full((1, 2, 2), VOID, dtype=torch.uint8), torch.ones(2))
    total.backward()
    assert total.item() == 0 and weight.item() == 0 and scores.grad is not None and not scores.grad.any()


def test_lovasz_softmax_of_a_case_computed_by_hand() -> None:
    # probabilities of class 0: 0.9, 0.6, 0.2; the errors of class 0 and class 1 are the same: 0.1, 0.6 and 0.2
    probabilities = torch.tensor([0.9, 0.6, 0.2])
    scores = torch.stack((probabilities.log(), (1 - probabilities).log())).view(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 1]]], dtype=torch.uint8)
    # largest error first: pixels 1, 2, 0. IoU of class 0 (pixel 0) when 1, then 2, then 0 are wrong: 1/2, 1/3, 0
    first = 0.6 * 1 / 2 + 0.2 * (1 / 2 - 1 / 3) + 0.1 * 1 / 3
    # IoU of class 1 (pixels 1 and 2): 1/2, 0, 0
    second = 0.6 * 1 / 2 + 0.2 * 1 / 2 + 0.1 * 0
    assert lovasz_softmax(scores, labels).item() == pytest.approx((first + second) / 2)


def test_lovasz_softmax_is_the_lovasz_extension_of_the_jaccard_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 5, 3, 4, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 4), generator=generator).to(torch.uint8)  # class 4 is not there
    labels[0, 0, :2] = VOID
    pixels = [tuple(pixel) for pixel in (labels != VOID).nonzero().tolist()]
    losses = []
    for number in range(4):
        truth = {pixel for pixel in pixels if labels[pixel] == number}
        errors = {(n, y, x): abs(((n, y, x) in truth) - scores[n, :, y, x].softmax(0)[number].item()) for n, y, x in pixels}
        order = sorted(pixels, key=lambda pixel: -errors[pixel])
        jaccard = [len(wrong) / len(truth | wrong) for wrong in (set(order[:count]) for count in range(len(order) + 1))]
        losses.append(sum(errors[pixel] * (jaccard[i + 1] - jaccard[i]) for i, pixel in enumerate(order)))
    assert lovasz_softmax(scores, labels).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_lovasz_softmax_of_sure_predictions_is_one_minus_mean_iou() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, VOID]]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    scores = 100 * torch.nn.functional.one_hot(predicted, 2).permute(0, 3, 1, 2).float()
    assert lovasz_softmax(scores, labels).item() == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)


def test_lovasz_softmax_of_void_only_is_zero_and_has_a_gradient() -> None:
    scores = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = lovasz_softmax(scores, torch.full((1, 2, 2), VOID, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0 and scores.grad is not None and not scores.grad.any()

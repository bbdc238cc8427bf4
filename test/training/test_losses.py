from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from enet_ros.labels import VOID
from enet_ros.training.losses import class_weights, segmentation_loss


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

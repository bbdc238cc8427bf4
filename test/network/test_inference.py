"""The outputs of the networks that engines run: class ids and confidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model
from torch import Tensor

from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.network.portable import PortableNetwork

NETWORKS = (InferenceNetwork, PortableNetwork)


@pytest.fixture(scope='module')
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


def _images(*numbers: int) -> Tensor:
    """Return drawn scenes, N x 64 x 96 x 3, RGB."""
    return torch.from_numpy(np.stack([draw_scene(number, 96, 64)[0][..., ::-1] for number in numbers]))


def _plain_confidence(scores: Tensor) -> Tensor:
    """Return 255 times the softmax probability of the best class, in float64 and not rounded."""
    return 255 * scores.double().softmax(1).amax(1)


def _assert_rounded(confidence: Tensor, exact: Tensor) -> None:
    """Assert that `confidence` is `exact` rounded. Within 0.001 of a half, either neighbour is accepted."""
    assert confidence.dtype == torch.uint8 and confidence.shape == exact.shape
    assert (confidence.double() - exact).abs().max() <= 0.501


@pytest.mark.parametrize('kind', NETWORKS)
@pytest.mark.parametrize('spread', [0.01, 1, 8, 1000])
def test_confidence_is_the_rounded_softmax(kind: type[InferenceNetwork], spread: float, model: ModelFile) -> None:
    scores = spread * torch.randn(2, 11, 48, 40, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        _assert_rounded(kind(model).rate(scores), _plain_confidence(scores))


@pytest.mark.parametrize('kind', NETWORKS)
@pytest.mark.parametrize(('scores', 'confidence'), [
    ([7.0], 255),  # one class is certain
    ([2.0, 2.0], 128),  # 127.5 is rounded up
    ([-3.0] * 11, 23),  # 255 / 11 = 23.2
    ([0.0] * 255, 1),
    ([1e4, -1e4], 255),
    ([-1e30, -3e30], 255),
    ([3e38, 3e38, -3e38], 128),
    ([0.0, -100.0, 0.0, 0.0], 85),  # three equal classes
])
def test_ties_and_extreme_scores_have_an_exact_confidence(
    kind: type[InferenceNetwork], scores: list[float], confidence: int, model: ModelFile
) -> None:
    column = torch.tensor(scores).view(1, -1, 1, 1).expand(1, -1, 3, 5)
    with torch.inference_mode():
        assert (kind(model).rate(column) == confidence).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_the_softmax_of_half_precision_scores_is_computed_in_float32(dtype: torch.dtype, model: ModelFile) -> None:
    scores = (4 * torch.randn(1, 255, 24, 40, generator=torch.Generator().manual_seed(2))).to(dtype)
    with torch.inference_mode():
        _assert_rounded(InferenceNetwork(model).rate(scores), _plain_confidence(scores))


@pytest.mark.parametrize('kind', NETWORKS)
def test_on_a_tie_the_first_class_wins(kind: type[InferenceNetwork], model: ModelFile) -> None:
    scores = torch.tensor([0.0, 4.0, 1.0, 4.0]).view(1, 4, 1, 1).expand(2, 4, 3, 5)
    labels = kind(model).classify(scores)
    assert labels.dtype == torch.uint8 and labels.shape == (2, 3, 5) and (labels == 1).all()


@pytest.mark.parametrize('options', [{}, {'last_kernel': 2}, {'decoder_activation': 'relu'}], ids=str)
def test_both_networks_give_the_same_labels_and_confidence(options: dict[str, object], tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', **options))
    model = replace(model, info=replace(model.info, mean=(0.4, 0.5, 0.3), std=(0.2, 0.3, 0.25)))
    images = _images(0, 30)
    with torch.inference_mode():
        network = InferenceNetwork(model, confidence=True)
        labels, confidence = network(images)
        portable_labels, portable_confidence = PortableNetwork(model)(images)
        scores = network.network(network.normalise(images))
    assert labels.shape == portable_labels.shape == (2, 64, 96) and len(labels.unique()) > 2
    assert torch.equal(labels, scores.argmax(1).to(torch.uint8))
    _assert_rounded(confidence, _plain_confidence(scores))
    # float32 sums in another order change pixels where two classes score alike
    assert (portable_labels == labels).float().mean() > 0.999
    assert ((portable_confidence.int() - confidence.int()).abs() <= 1).float().mean() > 0.999
    assert len(confidence.unique()) > 5


def test_confidence_does_not_change_the_labels_and_is_only_there_on_request(model: ModelFile) -> None:
    images = _images(5)
    with torch.inference_mode():
        labels = InferenceNetwork(model)(images)
        assert isinstance(labels, Tensor)
        assert torch.equal(InferenceNetwork(model, confidence=True)(images)[0], labels)

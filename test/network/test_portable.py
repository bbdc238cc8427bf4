from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model, randomize
from torch import nn

from enet_ros.images.synthetic import draw_scene
from enet_ros.network.enet import Initial
from enet_ros.network.folding import fold
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import read_model
from enet_ros.network.portable import JoinedInitial, MaximumPReLU, PortableNetwork


def _labels(network: nn.Module, number: int) -> torch.Tensor:
    image = np.ascontiguousarray(draw_scene(number, 96, 64)[0][..., ::-1])
    with torch.inference_mode():
        return network(torch.from_numpy(image)[None])


@pytest.mark.parametrize('options', [{}, {'last_kernel': 2}, {'decoder_activation': 'relu'}], ids=str)
def test_the_portable_network_is_the_inference_network(options: dict[str, object], tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', **options))
    model = replace(model, info=replace(model.info, mean=(0.4, 0.5, 0.3), std=(0.2, 0.3, 0.25)))
    for number in (0, 30):
        expected = _labels(InferenceNetwork(model), number)
        assert len(expected.unique()) > 2
        # float32 sums in another order may turn a pixel where two classes are equal
        assert (_labels(PortableNetwork(model), number) == expected).float().mean() > 0.999


def test_a_slope_above_one_is_not_taken_for_a_maximum(tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors'))
    model.weights['encoder.stage1.0.activation.weight'][5] = 3
    expected = _labels(InferenceNetwork(model), 0)
    assert (_labels(PortableNetwork(model), 0) == expected).float().mean() > 0.999


def test_a_prelu_as_a_maximum_is_the_same_to_the_last_bit() -> None:
    prelu = nn.PReLU(16)
    nn.init.uniform_(prelu.weight, -1.5, 1)
    features = torch.randn(1, 16, 9, 9)
    features[0, :, 0, :3] = torch.tensor([0.0, -torch.inf, torch.inf])
    assert torch.equal(MaximumPReLU(prelu)(features), prelu(features))


def test_the_initial_block_without_concatenation_is_the_block() -> None:
    initial = fold(randomize(Initial()))
    image = torch.rand(2, 3, 24, 40)
    with torch.inference_mode():
        torch.testing.assert_close(JoinedInitial(initial)(image), initial(image))

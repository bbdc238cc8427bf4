from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from helpers import make_model, randomize
from torch import nn

from enet_ros.images.synthetic import draw_scene
from enet_ros.network.enet import Initial
from enet_ros.network.folding import fold
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import read_model
from enet_ros.network.portable import JoinedInitial, MaximumPReLU, PortableNetwork


def test_a_prelu_with_a_slope_above_1_is_kept(tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors'))
    model.weights['encoder.stage1.0.activation.weight'][5] = 3
    image = torch.from_numpy(np.ascontiguousarray(draw_scene(0, 96, 64)[0][None, ..., ::-1]))
    with torch.inference_mode():
        labels, _ = PortableNetwork(model)(image)
        assert (labels == InferenceNetwork(model)(image)).float().mean() > 0.999


def test_a_prelu_as_a_maximum_is_bit_identical() -> None:
    prelu = nn.PReLU(16)
    nn.init.uniform_(prelu.weight, -1.5, 1)
    features = torch.randn(1, 16, 9, 9)
    features[0, :, 0, :3] = torch.tensor([0.0, -torch.inf, torch.inf])
    assert torch.equal(MaximumPReLU(prelu)(features), prelu(features))


def test_the_initial_block_without_concatenation_gives_the_same_features() -> None:
    initial = fold(randomize(Initial()))
    image = torch.rand(2, 3, 24, 40)
    with torch.inference_mode():
        torch.testing.assert_close(JoinedInitial(initial)(image), initial(image))

from __future__ import annotations

import pytest
import torch
from helpers import randomize
from torch import nn

from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.enet import ENet
from enet_ros.network.slopes import prelu_slopes


@pytest.mark.parametrize(('activation', 'count'), [('prelu', 67 + 15), ('relu', 67)])
def test_slopes_are_listed_in_the_order_of_the_forward_pass(activation: str, count: int) -> None:
    network = randomize(ENet(ENetArchitecture(3, decoder_activation=activation)))
    applied: list[tuple[str, torch.Tensor]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.PReLU):
            module.register_forward_hook(lambda module, *_, name=name: applied.append((name, module.weight.detach())))
    with torch.no_grad():
        network(torch.zeros(1, 3, 16, 16))
    slopes = prelu_slopes({name: values.numpy() for name, values in network.state_dict().items()})
    assert [slope.layer for slope in slopes] == [name for name, _ in applied]
    for slope, (_, weight) in zip(slopes, applied):
        expected = (weight.mean().item(), weight.min().item(), weight.max().item())
        assert (slope.mean, slope.min, slope.max) == pytest.approx(expected)
    # Figure 3 of the paper: 67 in the encoder, one of them at the end of each of its 23 blocks
    assert len(slopes) == count and sum(slope.part == 'encoder' for slope in slopes) == 67
    assert sum(slope.ends_block for slope in slopes[:67]) == 23

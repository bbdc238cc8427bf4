from __future__ import annotations

import copy

import pytest
import torch
from helpers import randomize
from torch import Tensor, nn

from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.cost import cost
from enet_ros.network.enet import Bottleneck, Downsampling, EncoderClassifier, ENet, Initial, Upsampling
from enet_ros.network.folding import fold
from enet_ros.network.pooling import CornerPooling

# the paper's Table 1 for a 512x512 input, one row per block
TABLE_1 = (
    [('initial', 16, 256), ('bottleneck1.0', 64, 128)]
    + [('bottleneck1.x', 64, 128)] * 4
    + [('bottleneck2.0', 128, 64)]
    + [(f'bottleneck2.{i}', 128, 64) for i in range(1, 9)]
    + [(f'bottleneck3.{i}', 128, 64) for i in range(1, 9)]
    + [('bottleneck4.0', 64, 128), ('bottleneck4.1', 64, 128), ('bottleneck4.2', 64, 128)]
    + [('bottleneck5.0', 16, 256), ('bottleneck5.1', 16, 256), ('fullconv', 19, 512)]
)


@pytest.mark.parametrize('last_kernel', [2, 3])
def test_every_block_has_the_shape_of_table_1(last_kernel: int) -> None:
    with torch.device('meta'):
        network = ENet(ENetArchitecture(19, last_kernel=last_kernel)).eval()
    shapes = []
    for module in network.modules():
        if isinstance(module, (Initial, Bottleneck, Downsampling, Upsampling)) or module is network.decoder.fullconv:
            module.register_forward_hook(lambda _, __, out: shapes.append(out[0] if isinstance(out, tuple) else out))
    network(torch.empty(1, 3, 512, 512, device='meta'))
    assert [tuple(shape.shape) for shape in shapes] == [(1, channels, side, side) for _, channels, side in TABLE_1]


def test_stages_2_and_3_have_the_convolutions_of_table_1() -> None:
    encoder = ENet(ENetArchitecture(11)).encoder
    for stage in (encoder.stage2, encoder.stage3):
        kinds = []
        for block in stage:
            main = block.branch[2]
            convolutions = [m for m in main.modules() if isinstance(m, nn.Conv2d)]
            kinds.append([(c.kernel_size, c.dilation[0]) for c in convolutions])
        regular, asymmetric = [((3, 3), 1)], [((5, 1), 1), ((1, 5), 1)]
        assert kinds == [regular, [((3, 3), 2)], asymmetric, [((3, 3), 4)], regular, [((3, 3), 8)], asymmetric,
                         [((3, 3), 16)]]


def test_the_encoder_has_the_67_activations_of_figure_3() -> None:
    encoder = ENet(ENetArchitecture(19)).encoder
    assert sum(isinstance(module, nn.PReLU) for module in encoder.modules()) == 67


@pytest.mark.parametrize(('last_kernel', 'parameters'), [(3, 366_167), (2, 364_647)])
def test_the_number_of_parameters_is_that_of_the_last_kernel(last_kernel: int, parameters: int) -> None:
    architecture = ENetArchitecture(19, last_kernel=last_kernel)
    assert cost(ENet(architecture), 640, 360).parameters == parameters


def test_operations_at_the_size_of_table_3() -> None:
    assert round(cost(ENet(ENetArchitecture(19)), 640, 360).flops / 1e9, 2) == 3.62


def test_internal_width_is_a_quarter_of_the_output() -> None:
    network = ENet(ENetArchitecture(11))
    blocks = (network.encoder.down1, network.encoder.down2, network.decoder.up4, network.decoder.up5)
    assert [block.branch[0].convolution.out_channels for block in blocks] == [16, 32, 16, 4]


def test_dropout_is_0_01_in_stage_1_and_0_1_in_stages_2_and_3() -> None:
    network = ENet(ENetArchitecture(11, decoder_dropout=0.05))

    def rates(module: nn.Module) -> set[float]:
        return {part.p for part in module.modules() if isinstance(part, nn.Dropout2d)}

    assert rates(network.encoder.down1) | rates(network.encoder.stage1) == {0.01}
    assert rates(network.encoder.down2) | rates(network.encoder.stage2) | rates(network.encoder.stage3) == {0.1}
    assert rates(network.decoder) == {0.05}


@pytest.mark.parametrize('options', [
    {}, {'decoder_activation': 'relu', 'last_kernel': 2},
], ids=str)
def test_both_poolings_and_folding_give_the_same_scores(options: dict[str, object]) -> None:
    architecture = ENetArchitecture(5, **options)
    torch.manual_seed(0)
    # in float64: in float32, rounding moves a few maxima, and the unpooled values with them
    network = randomize(ENet(architecture)).double()
    image = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        scores: Tensor = network(image)
        corners = ENet(architecture, CornerPooling()).double().eval()
        corners.load_state_dict(network.state_dict())
        assert torch.equal(corners(image), scores)
        folded = fold(network)
        torch.testing.assert_close(folded(image), scores, rtol=1e-9, atol=1e-9)
    norms = [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 1  # of the pooled channels of the initial block


def test_folding_does_not_change_the_original() -> None:
    network = randomize(ENet(ENetArchitecture(5)))
    before = copy.deepcopy(network.state_dict())
    fold(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_encoder_classifier_gives_scores_at_an_eighth_of_the_size() -> None:
    network = ENet(ENetArchitecture(5))
    assert EncoderClassifier(network.encoder, 5).eval()(torch.rand(1, 3, 64, 96)).shape == (1, 5, 8, 12)


@pytest.mark.parametrize(('options', 'reason'), [
    ({'classes': 0}, 'classes is 0'),
    ({'classes': 256}, 'classes is 256'),
    ({'classes': 5, 'decoder_activation': 'gelu'}, 'gelu'),
    ({'classes': 5, 'decoder_dropout': 1.0}, '1.0'),
    ({'classes': 5, 'last_kernel': 4}, '4'),
])
def test_an_invalid_architecture_is_refused_by_its_value(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ENetArchitecture(**options)

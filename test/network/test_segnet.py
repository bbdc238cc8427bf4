from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, make_model, randomize
from torch import nn

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.cost import cost
from enet_ros.network.folding import fold
from enet_ros.network.layers import ConvNorm
from enet_ros.network.model_file import read_model
from enet_ros.network.pooling import CornerPooling
from enet_ros.network.registry import load_network
from enet_ros.network.segnet import SegNet
from enet_ros.training.history import read_history
from enet_ros.training.loop import train
from enet_ros.training.recipe import read_recipe

# output channels and, for a 640x360 image, width and height of all 26 convolutions
LAYERS = (
    [(64, 640, 360)] * 2 + [(128, 320, 180)] * 2 + [(256, 160, 90)] * 3 + [(512, 80, 45)] * 3 + [(512, 40, 22)] * 6
    + [(512, 80, 45)] * 2 + [(256, 80, 45)] + [(256, 160, 90)] * 2 + [(128, 160, 90)]
    + [(128, 320, 180), (64, 320, 180), (64, 640, 360), (19, 640, 360)]
)


def test_convolutions_are_those_of_the_authors_release() -> None:
    with torch.device('meta'):
        network = SegNet(SegNetArchitecture(19)).eval()
    shapes = []
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        convolution.register_forward_hook(lambda _, __, out: shapes.append((out.shape[1], out.shape[3], out.shape[2])))
    network(torch.empty(1, 3, 360, 640, device='meta'))
    assert shapes == LAYERS
    assert {convolution.kernel_size for convolution in convolutions} == {(3, 3)}
    kinds = [sum(isinstance(module, kind) for module in network.modules()) for kind in (ConvNorm, nn.ReLU)]
    assert kinds == [25, 25]  # after all convolutions except the last


def test_cost_is_that_of_table_3() -> None:
    with torch.device('meta'):
        measured = cost(SegNet(SegNetArchitecture(19)), 640, 360)
    # the paper has 29.46 M, without the number of classes, and 286.03 GFLOPs, which count more than convolutions
    assert measured.parameters == 29_453_971
    assert round(measured.flops / 1e9, 2) == 285.56
    assert round(2 * measured.parameters / 2**20, 1) == 56.2


def test_both_poolings_and_folding_give_the_same_scores() -> None:
    torch.manual_seed(0)
    # in float64, as for ENet; pooling halves 40 x 72 to 20 x 36, 10 x 18, 5 x 9, 2 x 4, 1 x 2
    network = randomize(SegNet(SegNetArchitecture(5))).double()
    image = torch.rand(2, 3, 40, 72, dtype=torch.float64)
    with torch.inference_mode():
        scores = network(image)
        assert scores.shape == (2, 5, 40, 72)
        folded = fold(network)
        torch.testing.assert_close(folded(image), scores, rtol=1e-9, atol=1e-9)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        network.pooling = CornerPooling()
        assert torch.equal(network(image), scores)


def test_unpooling_puts_values_at_the_positions_of_the_matching_pooling() -> None:
    network = SegNet(SegNetArchitecture(5)).eval()
    pooled, unpooled = [], []
    network.pooling.pool, pool = lambda x: pooled.append(x) or pool(x), network.pooling.pool
    for block in network.decoder:
        block.register_forward_pre_hook(lambda _, inputs: unpooled.append(inputs[0]))
    with torch.inference_mode():
        network(torch.rand(1, 3, 40, 72))
    for before, after in zip(pooled, reversed(unpooled)):
        kept = after[..., : before.shape[-2], : before.shape[-1]] != 0
        windows = nn.functional.max_pool2d(before, 2).repeat_interleave(2, -2).repeat_interleave(2, -1)
        assert kept.any() and torch.equal(before[kept], windows[kept])


@pytest.fixture(scope='module')
def segnet_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model file of an untrained SegNet for 96x64 images."""
    return make_model(tmp_path_factory.mktemp('segnet') / 'segnet.safetensors', architecture=SegNetArchitecture(11))


def test_a_model_file_of_segnet_loads_as_segnet(segnet_model: Path) -> None:
    model = read_model(segnet_model)
    assert model.info.architecture == SegNetArchitecture(11)
    network = load_network(model)
    assert isinstance(network, SegNet) and not network.training


@pytest.mark.parametrize('size', [(96, 64), (104, 40)], ids=['even', 'odd'])
def test_openvino_gives_the_labels_of_pytorch_at_even_and_odd_sizes(size: tuple[int, int], segnet_model: Path) -> None:
    model = read_model(segnet_model)
    images = np.ascontiguousarray(draw_scene(3, *size)[0][None])
    labels = [
        create_engine(model, EngineSpec(backend, 'fp32', *size)).infer(images).labels.copy()
        for backend in ('torch', 'openvino')
    ]
    assert labels[0].shape == (1, size[1], size[0]) and len(np.unique(labels[0])) > 2
    assert np.mean(labels[0] == labels[1]) > 0.99  # rounding moves a few maxima


@pytest.mark.parametrize('classes', [0, 256, 11.0])
def test_an_invalid_number_of_classes_is_refused(classes: float) -> None:
    with pytest.raises(ValueError, match=f'classes is {classes}.*1 to 255'):
        SegNetArchitecture(classes)


def test_segnet_trains_resumes_and_segments_like_enet(
    drawn_dataset: Callable[..., Dataset], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset, run, config = drawn_dataset(train=4, val=2), tmp_path / 'run', ROOT / 'config' / 'train' / 'segnet_camvid.yaml'
    changes = ('size=[96, 64]', 'stages.segnet.crop=[64, 40]', 'batch_size=2', 'warmup_epochs=0', 'precision=32-true')
    # as if training had stopped after the first of two epochs
    train(dataset, read_recipe(config, [*changes, 'stages.segnet.epochs=1']), run)
    (run / 'run.json').write_text((run / 'run.json').read_text().replace('"epochs": 1', '"epochs": 2'))
    assert main(['train', '--data', str(dataset.root), '--out', str(run), '--config', str(config), '--resume',
                 *(part for change in (*changes, 'stages.segnet.epochs=2') for part in ('--set', change))]) == 0
    losses = [loss for _, loss in read_history(run / 'segnet').loss]
    assert len(losses) == 2 and losses[1] < losses[0]
    model = run / 'model.safetensors'
    assert (run / 'model.onnx').is_file() and read_model(model).info.metrics['val']['mean_iou'] is not None
    assert main(['info', str(model)]) == 0
    assert 'architecture 29449355 parameters, network segnet, classes 11\n' in capfd.readouterr().out
    write_image(tmp_path / 'x.png', draw_scene(3, 96, 64)[0])
    labels = []
    for backend in ('torch', 'openvino'):
        out = tmp_path / backend
        assert main(['segment', str(tmp_path / 'x.png'), '--out', str(out), '--model', str(model), '--backend', backend,
                     '--precision', 'fp32']) == 0
        labels.append(cv2.imread(str(out / 'labels' / 'x.png'), cv2.IMREAD_UNCHANGED))
    assert np.mean(labels[0] == labels[1]) > 0.99
    shutil.rmtree(run)  # 1.1 GB; pytest would keep those of the last three runs

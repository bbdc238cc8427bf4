"""The TensorRT network is interpreted layer by layer in PyTorch (trt_interpreter.py), and built without a GPU."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import make_model

from enet_ros.engines.verification import MINIMUM, check_images
from enet_ros.errors import EngineError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.network.pooling import CornerPooling

SIZE = (96, 64)
TORCH2TRT = 'needs torch2trt, which is on no package index: put github.com/NVIDIA-AI-IOT/torch2trt on PYTHONPATH'

pytestmark = pytest.mark.usefixtures('tensorrt_stand_in')


def _define(way: str, model: ModelFile, precision: str, size: tuple[int, int] = SIZE) -> tuple[Any, Any]:
    """Return a builder and the network that torch2trt or the parser makes of `model`."""
    import tensorrt as trt

    if way == 'torch2trt':
        pytest.importorskip('torch2trt', reason=TORCH2TRT)
    definition = import_module('enet_ros.engines.tensorrt.network')
    builder = trt.Builder(import_module('enet_ros.engines.tensorrt.log').tensorrt_log())
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if way == 'torch2trt':
        definition.convert(network, *definition.traceable(model, size, precision))
    else:
        definition.parse(network, definition.export(*definition.traceable(model, size, precision)))
    return builder, network


def _agreement(network: object, model: ModelFile, size: tuple[int, int] = SIZE) -> tuple[float, float]:
    """Return the least and the mean share of an image's pixels that get PyTorch's labels.

    None of the images is the traced one, which is black. The mean is what `verify` asks of an engine.
    """
    from trt_interpreter import run_network

    reference = InferenceNetwork(model)
    shares = []
    with torch.inference_mode():
        for image in check_images(size):
            batch = torch.from_numpy(image)[None]
            labels, expected = run_network(network, batch), reference(batch)
            assert labels.dtype == torch.uint8 and labels.shape == expected.shape and len(expected.unique()) > 1
            shares.append((labels == expected).float().mean().item())
    return min(shares), sum(shares) / len(shares)


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
@pytest.mark.parametrize('options', [{}, {'last_kernel': 2, 'decoder_activation': 'relu'}], ids=str)
def test_the_network_is_enet_on_images_that_it_was_not_traced_with(way: str, options: dict, tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', **options))
    # not square, and with other sizes at every depth than the exporter's usual ones
    _, network = _define(way, model, 'fp32', (120, 64))
    assert _agreement(network, model, (120, 64))[0] > 0.999


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
def test_the_network_is_segnet_with_its_odd_sizes(way: str, tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    # 72 and 40 become 9 and 5 before the fourth pooling
    _, network = _define(way, model, 'fp32', (72, 40))
    assert _agreement(network, model, (72, 40))[0] > 0.999


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
def test_mean_and_std_are_in_the_network(way: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from enet_ros.network.model_file import write_model

    plain = read_model(make_model(tmp_path / 'plain.safetensors'))
    write_model(tmp_path / 'm.safetensors', replace(plain.info, mean=(0.4, 0.1, 0.2), std=(0.5, 0.2, 0.3)), plain.weights)
    model = read_model(tmp_path / 'm.safetensors')
    assert _agreement(_define(way, model, 'fp32')[1], model)[0] > 0.999


def test_through_torch2trt_odd_sizes_are_pooled_and_unpooled(small_model: Path) -> None:
    import tensorrt as trt
    from trt_interpreter import run_network

    pytest.importorskip('torch2trt', reason=TORCH2TRT)

    class Pooled(torch.nn.Module):
        """Scores whose largest channel shows where the maxima stood."""

        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            maxima, positions = CornerPooling().pool(planes)
            return CornerPooling().unpool(maxima + 1, positions, (planes.shape[-2], planes.shape[-1]))

    module = InferenceNetwork(read_model(small_model), CornerPooling())
    module.network = Pooled()
    builder = trt.Builder(import_module('enet_ros.engines.tensorrt.log').tensorrt_log())
    network = builder.create_network(0)
    import_module('enet_ros.engines.tensorrt.network').convert(network, module, torch.zeros(1, 9, 15, 3, dtype=torch.uint8))
    for image in check_images((15, 9)):
        batch = torch.from_numpy(image)[None]
        assert torch.equal(run_network(network, batch), module(batch))


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
def test_in_half_the_trained_network_gives_nearly_the_same_labels(way: str, shipped_model: Path) -> None:
    import tensorrt as trt

    model = read_model(shipped_model)
    _, network = _define(way, model, 'fp16')
    assert _agreement(network, model)[1] > MINIMUM['fp16']
    kinds = {network.get_layer(index).get_output(0).dtype for index in range(network.num_layers)}
    assert trt.float16 in kinds and trt.float32 not in kinds


def test_through_torch2trt_every_prelu_is_one_layer_and_no_size_is_computed(small_model: Path) -> None:
    _, network = _define('torch2trt', read_model(small_model), 'fp32')
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    # 67 up to the encoder's end (the paper's Figure 3), and per bottleneck of the decoder three
    assert kinds.count('PARAMETRIC_RELU') == 67 + 5 * 3
    assert 'SHAPE' not in kinds


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
def test_tensorrt_builds_the_network(way: str, precision: str, shipped_model: Path) -> None:
    builder, network = _define(way, read_model(shipped_model), precision)
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    assert engine is not None and engine.nbytes > 100_000


def test_building_says_what_and_how_long(
    shipped_model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    module = import_module('enet_ros.engines.tensorrt.build')
    monkeypatch.setattr(module, '_PROGRESS_INTERVAL', 0.0)  # this build takes seconds
    engine = module.build(read_model(shipped_model), SIZE, 'fp16')
    assert isinstance(engine, bytes) and engine
    assert re.search(r'building: .+, step \d+ of \d+', caplog.text)
    assert 'building for TensorRT' in caplog.text and '96x64 in fp16' in caplog.text and 'built in' in caplog.text


def test_an_interrupt_of_a_build_is_not_lost(shipped_model: Path) -> None:
    # in a process of its own: rclpy, which other tests load, handles signals in its own way
    script = f"""
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs have not
import {sys.modules['tensorrt'].__name__} as trt
sys.modules['tensorrt'] = trt
from pathlib import Path
from enet_ros.engines import tensorrt_build
from enet_ros.network.model_file import read_model
define = tensorrt_build.define_network
def interrupt_soon(*arguments):
    define(*arguments)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()  # building takes a second or more
tensorrt_build.define_network = interrupt_soon
try:
    tensorrt_build.build(read_model(Path({str(shipped_model)!r})), {SIZE}, 'fp16')
except KeyboardInterrupt:
    print('interrupted', signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout == 'interrupted True\n', done.stderr


def test_a_graph_that_the_parser_refuses_is_one_line() -> None:
    import tensorrt as trt

    builder = trt.Builder(import_module('enet_ros.engines.tensorrt.log').tensorrt_log())
    with pytest.raises(EngineError, match='cannot read the ONNX graph') as caught:
        import_module('enet_ros.engines.tensorrt.network').parse(builder.create_network(0), b'no graph')
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(find_spec('nncf') is None, reason='needs nncf: pip install nncf onnxruntime')
def test_a_quantised_graph_is_read_and_means_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         shipped_model: Path) -> None:
    from enet_ros.engines.int8 import quantized_graph

    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    definition = import_module('enet_ros.engines.tensorrt.network')
    model = read_model(shipped_model)
    for number in range(4):
        write_image(tmp_path / 'train' / 'images' / f'{number}.png', draw_scene(20 * number, 200, 120)[0])
    graph = quantized_graph(
        model, SIZE, 'tensorrt', tmp_path, lambda: definition.export(*definition.traceable(model, SIZE, 'fp32'))
    )
    # as far as it goes without a GPU: tensorrt-rtx builds no convolutions of bytes
    import tensorrt as trt

    builder = trt.Builder(import_module('enet_ros.engines.tensorrt.log').tensorrt_log())
    network = builder.create_network(0)
    definition.define_network(network, model, SIZE, 'int8', graph)
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    assert kinds.count('QUANTIZE') > kinds.count('CONVOLUTION') > 80
    # of drawings and noise, calibrated with four drawings: far from what a graph that is read wrong would leave
    assert 0.6 < _agreement(network, model)[0] < 1

"""The TensorRT network is interpreted layer by layer in PyTorch (trt_interpreter.py) and built without a GPU."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make_model

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.verification import CONFIDENCE_TOLERANCE, MINIMUM, check_images
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model, write_model
from enet_ros.network.pooling import CornerPooling
from enet_ros.network.slopes import prelu_slopes

SPEC = EngineSpec('tensorrt', 'fp32', 96, 64)
WITH_CONFIDENCE = dataclasses.replace(SPEC, confidence=True)
TORCH2TRT = 'needs torch2trt, which is on no package index: put github.com/NVIDIA-AI-IOT/torch2trt on PYTHONPATH'

pytestmark = pytest.mark.usefixtures('tensorrt_stand_in')
both_ways = pytest.mark.parametrize('way', ['torch2trt', 'parser'])


def _empty(*, strongly_typed: bool = True) -> tuple[Any, Any]:
    """Return a builder and an empty network."""
    import tensorrt as trt

    builder = trt.Builder(import_module('enet_ros.engines.tensorrt.log').tensorrt_log())
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return builder, builder.create_network(flag if strongly_typed else 0)


def _define(way: str, model: ModelFile, spec: EngineSpec = SPEC, prelu: str = 'layer') -> tuple[Any, Any]:
    """Return a builder and the network that torch2trt or the parser defines."""
    if way == 'torch2trt':
        pytest.importorskip('torch2trt', reason=TORCH2TRT)
    definition = import_module('enet_ros.engines.tensorrt.network')
    builder, network = _empty()
    if way == 'torch2trt':
        definition.convert(network, *definition.traceable(model, spec, prelu))
    else:
        definition.parse(network, definition.export(model, spec, prelu), 'remedy')
    return builder, network


def _batches(spec: EngineSpec) -> list[torch.Tensor]:
    """Return batches of the spec's shape. None was used for tracing, whose images are black."""
    images = [torch.from_numpy(image) for image in check_images(spec.size)]
    return [torch.stack((images * 2)[start : start + spec.batch]) for start in range(len(images))]


def _shares(network: object, model: ModelFile, spec: EngineSpec = SPEC) -> list[float]:
    """Return for every batch the share of pixels with PyTorch's labels."""
    from trt_interpreter import run_network

    reference = InferenceNetwork(model)
    shares, classes = [], set()
    with torch.inference_mode():
        for batch in _batches(spec):
            labels, expected = run_network(network, batch)['labels'], reference(batch)
            assert labels.dtype == torch.uint8 and labels.shape == expected.shape
            shares.append((labels == expected).float().mean().item())
            classes |= set(expected.unique().tolist())
    assert len(classes) > 1  # one class everywhere would be easy to get right
    return shares


@both_ways
@pytest.mark.parametrize('options', [{}, {'last_kernel': 2, 'decoder_activation': 'relu'}], ids=str)
def test_the_network_is_enet_on_images_it_was_not_traced_with(way: str, options: dict, tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', **options))
    # not square, and with sizes at every depth that an exporter does not choose
    spec = dataclasses.replace(SPEC, width=120, batch=2)
    assert min(_shares(_define(way, model, spec)[1], model, spec)) > 0.999


@both_ways
def test_the_network_is_segnet_with_odd_sizes(way: str, tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    # 72 and 40 become 9 and 5 before the fourth pooling
    spec = dataclasses.replace(SPEC, width=72, height=40)
    assert min(_shares(_define(way, model, spec)[1], model, spec)) > 0.999


@both_ways
@pytest.mark.parametrize(('precision', 'share'), [('fp32', 0.99), ('fp16', 0.9)])
def test_the_confidence_is_that_of_pytorch(way: str, precision: str, share: float, shipped_model: Path) -> None:
    from trt_interpreter import run_network

    model = read_model(shipped_model)
    spec = dataclasses.replace(WITH_CONFIDENCE, precision=precision, batch=2)
    _, network = _define(way, model, spec)
    reference = InferenceNetwork(model, confidence=True)
    with torch.inference_mode():
        for batch in _batches(spec):
            outputs, (_, expected) = run_network(network, batch), reference(batch)
            confidence = outputs['confidence']
            assert confidence.dtype == torch.uint8 and confidence.shape == expected.shape and len(expected.unique()) > 50
            difference = (confidence.int() - expected.int()).abs()
            assert (difference <= CONFIDENCE_TOLERANCE).float().mean() > share


@both_ways
def test_a_network_without_confidence_has_one_output(way: str, small_model: Path) -> None:
    for spec, outputs in ((SPEC, ['labels']), (WITH_CONFIDENCE, ['labels', 'confidence'])):
        _, network = _define(way, read_model(small_model), spec)
        assert [network.get_output(index).name for index in range(network.num_outputs)] == outputs


@both_ways
def test_mean_and_std_are_in_the_network(way: str, tmp_path: Path) -> None:
    plain = read_model(make_model(tmp_path / 'plain.safetensors'))
    info = dataclasses.replace(plain.info, mean=(0.4, 0.1, 0.2), std=(0.5, 0.2, 0.3))
    write_model(tmp_path / 'm.safetensors', info, plain.weights)
    model = read_model(tmp_path / 'm.safetensors')
    assert min(_shares(_define(way, model)[1], model)) > 0.999


def test_torch2trt_pools_and_unpools_odd_sizes(small_model: Path) -> None:
    from trt_interpreter import run_network

    pytest.importorskip('torch2trt', reason=TORCH2TRT)

    class Pooled(torch.nn.Module):
        """Scores whose largest channel shows where the maxima were."""

        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            maxima, positions = CornerPooling().pool(planes)
            return CornerPooling().unpool(maxima + 1, positions, (planes.shape[-2], planes.shape[-1]))

    module = InferenceNetwork(read_model(small_model), CornerPooling())
    module.network = Pooled()
    _, network = _empty(strongly_typed=False)
    import_module('enet_ros.engines.tensorrt.network').convert(network, module, torch.zeros(1, 9, 15, 3, dtype=torch.uint8))
    for image in check_images((15, 9)):
        batch = torch.from_numpy(image)[None]
        assert torch.equal(run_network(network, batch)['labels'], module(batch))


@both_ways
def test_the_trained_network_in_half_gives_nearly_the_same_labels(way: str, shipped_model: Path) -> None:
    import tensorrt as trt

    model = read_model(shipped_model)
    _, network = _define(way, model, dataclasses.replace(SPEC, precision='fp16'))
    assert np.mean(_shares(network, model)) > MINIMUM['fp16']
    types = {network.get_layer(index).get_output(0).dtype for index in range(network.num_layers)}
    assert trt.float16 in types and trt.float32 not in types


@both_ways
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_bytes_are_converted_from_and_to_floats_only(way: str, precision: str, shipped_model: Path) -> None:
    # TensorRT documents no other conversion of uint8
    import tensorrt as trt

    spec = dataclasses.replace(WITH_CONFIDENCE, precision=precision)
    _, network = _define(way, read_model(shipped_model), spec)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    changes = [(layer.get_input(0).dtype, layer.get_output(0).dtype) for layer in layers if layer.type == trt.LayerType.CAST]
    of_bytes = [change for change in changes if trt.uint8 in change]
    assert len(of_bytes) >= 3 and all({trt.float32, trt.float16} & set(change) for change in of_bytes)


@both_ways
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_prelus_as_maxima_give_the_same_labels(way: str, precision: str, shipped_model: Path) -> None:
    model, spec = read_model(shipped_model), dataclasses.replace(SPEC, precision=precision)
    _, network = _define(way, model, spec, 'maximum')
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    steep = sum(layer.max > 1 for layer in prelu_slopes(model.weights))
    assert kinds.count('PARAMETRIC_RELU') == steep < 82 / 2 and np.mean(_shares(network, model)) > MINIMUM[precision]


def test_torch2trt_makes_every_prelu_one_layer_and_computes_no_sizes(small_model: Path) -> None:
    _, network = _define('torch2trt', read_model(small_model))
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    # 67 to the encoder's end (the paper's Figure 3) and three in each bottleneck of the decoder
    assert kinds.count('PARAMETRIC_RELU') == 67 + 5 * 3
    assert 'SHAPE' not in kinds


@both_ways
@pytest.mark.parametrize('spec', [WITH_CONFIDENCE, dataclasses.replace(SPEC, precision='fp16')], ids=lambda s: s.precision)
def test_tensorrt_builds_the_network(way: str, spec: EngineSpec, shipped_model: Path) -> None:
    builder, network = _define(way, read_model(shipped_model), spec)
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    assert engine is not None and engine.nbytes > 100_000


def test_a_graph_that_the_parser_rejects_is_one_line_with_the_remedy() -> None:
    parse = import_module('enet_ros.engines.tensorrt.network').parse
    with pytest.raises(EngineError, match=r'cannot read the ONNX graph .*: calibrate again$') as caught:
        parse(_empty()[1], b'not a graph', 'calibrate again')
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(find_spec('nncf') is None, reason='needs nncf: pip install nncf onnxruntime')
def test_tensorrt_reads_a_quantised_graph(shipped_model: Path) -> None:
    import openvino
    from trt_interpreter import run_network

    from enet_ros.engines.int8 import quantize

    definition = import_module('enet_ros.engines.tensorrt.network')
    model = read_model(shipped_model)
    scored, plain = (dataclasses.replace(spec, width=240, height=184) for spec in (WITH_CONFIDENCE, SPEC))
    scenes = [np.ascontiguousarray(draw_scene(10 * number, *plain.size)[0][..., ::-1]) for number in range(5)]
    graph = quantize(definition.export(model, scored), model, plain, scenes[::2])
    for spec, outputs in ((scored, 2), (plain, 1)):  # one graph serves both
        _, network = _empty(strongly_typed=False)
        definition.define_network(network, model, dataclasses.replace(spec, precision='int8'), graph)
        assert network.num_outputs == outputs
    # tensorrt-rtx builds no int8 convolutions, so the network is only interpreted
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    assert kinds.count('QUANTIZE') > kinds.count('CONVOLUTION') > 80
    # on another drawing than those of the calibration; OpenVINO reads the same graph
    batch = torch.from_numpy(scenes[1])[None]
    compiled = openvino.compile_model(openvino.Core().read_model(graph), 'CPU')
    by_openvino = torch.from_numpy(compiled(batch.numpy())[0])
    with torch.inference_mode():
        found, exact = run_network(network, batch)['labels'], InferenceNetwork(model)(batch)
    kept, kept_by_openvino = ((labels == exact).float().mean() for labels in (found, by_openvino))
    assert kept_by_openvino - 0.1 < kept < 1

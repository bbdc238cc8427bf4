from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.cache import cache_folder
from enet_ros.engines.create import create_engine
from enet_ros.engines.int8 import PACKAGES, quantize_graph, quantized_entry, store_quantized_graph
from enet_ros.engines.verification import MINIMUM
from enet_ros.errors import CalibrationError, EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model

SIZE = (240, 184)
SPEC = EngineSpec('openvino', 'int8', *SIZE)
needs_packages = pytest.mark.skipif(
    any(find_spec(package) is None for package in PACKAGES), reason=f'needs {", ".join(PACKAGES)}: pip install them'
)


def _scene(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1])


@pytest.fixture
def model(shipped_model: Path) -> ModelFile:
    return read_model(shipped_model)


def _expected(model: ModelFile, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return PyTorch's labels and confidence."""
    with torch.inference_mode():
        labels, confidence = InferenceNetwork(model, confidence=True)(torch.from_numpy(image)[None])
    return labels[0].numpy(), confidence[0].numpy()


def test_an_int8_engine_comes_from_the_cache_without_images(
    model: ModelFile, int8_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(int8_cache))
    engine = create_engine(model, SPEC)
    assert engine.spec == SPEC and not engine.is_new
    for number in (5, 33):  # not those of the calibration
        labels, _ = _expected(model, _scene(number))
        agreement = (engine.infer(_scene(number)[None]).labels[0] == labels).mean()
        # the weights are for photographs, not drawings; if every pixel agreed, nothing would be quantised
        assert MINIMUM['int8'] < agreement < 1


def test_confidence_costs_no_labels_and_follows_pytorchs(
    model: ModelFile, int8_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(int8_cache))
    plain = create_engine(model, SPEC)
    engine = create_engine(model, EngineSpec('openvino', 'int8', *SIZE, confidence=True))
    for number in (5, 33):
        image = _scene(number)
        prediction = engine.infer(image[None])
        assert (prediction.labels == plain.infer(image[None]).labels).all()
        assert prediction.confidence is not None
        found, expected = prediction.confidence[0].astype(float), _expected(model, image)[1]
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8
        assert np.median(np.abs(found - expected)) < 20


def _quantized(model: Path, *, half_range: bool) -> onnx.ModelProto:
    """Return the graph for TensorRT."""
    graph = model.with_suffix('.onnx').read_bytes()
    scenes = [_scene(number, (96, 64)) for number in (0, 40)]
    return onnx.load_from_string(quantize_graph(graph, scenes, zero_points=False, half_range=half_range))


@pytest.fixture(scope='module')
def graph_for_tensorrt(shipped_model: Path) -> onnx.ModelProto:
    return _quantized(shipped_model, half_range=False)


def _weights(graph: onnx.ModelProto, kind: str) -> list[np.ndarray]:
    """Return the constants, in int8 where they are quantised, that operations of this kind multiply with."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    producers = {name: node for node in graph.graph.node for name in node.output}

    def values(name: str) -> np.ndarray:
        if name in constants:
            return constants[name]
        node = producers[name]
        if node.op_type != 'QuantizeLinear':
            return values(node.input[0])
        scale = constants[node.input[1]]
        axis = next((entry.i for entry in node.attribute if entry.name == 'axis'), 0)
        shape = [-1 if place == axis else 1 for place in range(4)] if scale.size > 1 else [1]
        return np.rint(values(node.input[0]) / scale.reshape(shape)).astype(np.int8)

    return [values(node.input[1]) for node in graph.graph.node if node.op_type == kind]


@needs_packages
def test_transposed_convolutions_are_not_quantised(graph_for_tensorrt: onnx.ModelProto) -> None:
    assert {values.dtype.name for values in _weights(graph_for_tensorrt, 'Conv')} == {'int8'}
    transposed = _weights(graph_for_tensorrt, 'ConvTranspose')
    assert len(transposed) == 3 and {values.dtype.name for values in transposed} == {'float32'}


@needs_packages
def test_half_the_range_of_weights_is_used_where_sums_would_saturate(
    shipped_model: Path, graph_for_tensorrt: onnx.ModelProto
) -> None:
    def largest(graph: onnx.ModelProto) -> int:
        return max(int(np.abs(values.astype(int)).max()) for values in _weights(graph, 'Conv'))

    assert largest(graph_for_tensorrt) > 120 and largest(_quantized(shipped_model, half_range=True)) <= 64


def test_the_cpu_decides_about_the_range_and_about_the_graph_in_the_cache(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = []
    for saturates in (False, True):
        monkeypatch.setattr('enet_ros.engines.int8.cpu_saturates_int8', lambda answer=saturates: answer)
        entries.append(quantized_entry(model, SPEC))
    (name, key), (other_name, other_key) = entries
    assert name != other_name and (key['weights'], other_key['weights']) == ('8 bits', '7 bits')
    on_gpu = quantized_entry(model, EngineSpec('tensorrt', 'int8', *SIZE))  # whose sums have 32 bits
    assert on_gpu[1]['weights'] == '8 bits'


@needs_packages
def test_the_confidence_is_computed_in_floating_point(graph_for_tensorrt: onnx.ModelProto) -> None:
    graph = graph_for_tensorrt.graph
    assert [output.name for output in graph.output] == ['labels', 'confidence']
    producers = {name: node for node in graph.node for name in node.output}
    kinds, name = [], 'confidence'
    while kinds[-1:] != ['ReduceSum']:  # from the output back to the sum of the softmax
        node = producers[name]
        kinds.append(node.op_type)
        name = next(source for source in node.input if source in producers and producers[source].op_type != 'Constant')
    assert 'DequantizeLinear' not in kinds


def quantized_path(model: ModelFile, spec: EngineSpec) -> Path:
    return cache_folder() / quantized_entry(model, spec)[0]


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: b'not a graph', lambda data: data[:-1] + b'?'],
                         ids=['empty', 'not a graph', 'changed'])
def test_a_damaged_graph_in_the_cache_must_be_calibrated_again(
    damage: Callable[[bytes], bytes], model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path))
    store_quantized_graph(b'a graph', model, SPEC)
    path = quantized_path(model, SPEC)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CalibrationError, match=r'int8 needs calibration images: enet build-engine .*--size 240x184 .*--cal'):
        create_engine(model, SPEC)
    assert caplog.messages == [f'the int8 graph must be calibrated again: {path} is damaged']


@needs_packages
def test_a_graph_that_fails_its_check_does_not_replace_the_cached_one(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path))
    store_quantized_graph(b'the good graph', model, SPEC)
    path = quantized_path(model, SPEC)
    before = path.read_bytes()
    black = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    with pytest.raises(EngineError, match=r'int8 gives only .*: calibrate with more or other images'):
        create_engine(model, SPEC, calibration=[black])  # ranges that hold for nothing but black
    assert path.read_bytes() == before


@needs_packages
def test_a_cache_that_cannot_be_written_and_few_images_are_warnings(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = read_model(small_model)
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    size = model.info.training_size
    images = [np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1]) for number in range(3)]
    create_engine(model, EngineSpec('openvino', 'fp32'))  # exports the graph
    path = quantized_path(model, EngineSpec('openvino', 'int8').resolve(model))
    path.mkdir()  # where the file should be
    engine = create_engine(model, EngineSpec('openvino', 'int8'), calibration=images)
    assert engine.infer(images[0][None]).labels.shape == (1, size[1], size[0])
    few, cache = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert '3 calibration images are few' in few and 'not cached' in cache and str(path) in cache


@needs_packages
def test_for_tensorrt_all_zero_points_are_zero_and_all_types_int8(graph_for_tensorrt: onnx.ModelProto) -> None:
    graph = graph_for_tensorrt
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type in ('QuantizeLinear', 'DequantizeLinear')]
    assert len(nodes) > 100
    for node in nodes:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()


@needs_packages
def test_for_tensorrt_weights_are_in_float32_before_a_pair(graph_for_tensorrt: onnx.ModelProto) -> None:
    graph = graph_for_tensorrt.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for convolution in (node for node in graph.node if node.op_type == 'Conv'):
        dequantize = producers[convolution.input[1]]
        quantize = producers[dequantize.input[0]]
        assert (dequantize.op_type, quantize.op_type) == ('DequantizeLinear', 'QuantizeLinear')
        assert quantize.input[1:] == dequantize.input[1:] and quantize.attribute == dequantize.attribute
        weights = onnx.numpy_helper.to_array(constants[quantize.input[0]])
        scales = onnx.numpy_helper.to_array(constants[quantize.input[1]]).reshape(-1, 1, 1, 1)
        assert weights.dtype == np.float32 and np.abs(weights / scales - np.rint(weights / scales)).max() < 1e-4
        assert np.abs(weights / scales).max() <= 127.5
    onnx.checker.check_model(graph_for_tensorrt)


def test_a_missing_package_is_named_with_the_remedy() -> None:
    script = """
import sys
sys.modules['nncf'] = None  # cannot be imported
from enet_ros.engines.int8 import check_packages
check_packages()
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert 'EngineError: quantising to int8 needs nncf: pip install nncf' in done.stderr

"""The TensorRT network is interpreted layer by layer in PyTorch (trt_interpreter.py) and built without a GPU."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys
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


def _define(way: str, model: ModelFile, spec: EngineSpec = SPEC) -> tuple[Any, Any]:
    """Return a builder and the network that torch2trt or the parser defines."""
    if way == 'torch2trt':
        pytest.importorskip('torch2trt', reason=TORCH2TRT)
    definition = import_module('enet_ros.engines.tensorrt.network')
    builder, network = _empty()
    if way == 'torch2trt':
        definition.convert(network, *definition.traceable(model, spec))
    else:
        definition.parse(network, definition.export(model, spec), 'remedy')
    return builder, network


def _batches(spec: EngineSpec) -> list[torch.Tensor]:
    """Return batches of the spec's shape. None was used for tracing, whose images are black."""
    images = [torch.from_numpy(image) for image in check_images(spec.size)]
    return [torch.stack((images * 2)[start : start + spec.batch]) for start in range(len(images))]


def _shares(network: object, model: ModelFile, spec: EngineSpec = SPEC) -> list[float]:
    """Return for every batch the share of pixels with PyTorch's labels."""
    from trt_interpreter import run_network

    reference = InferenceNetwork(model)
    shares = []
    with torch.inference_mode():
        for batch in _batches(spec):
            labels, expected = run_network(network, batch)['labels'], reference(batch)
            assert labels.dtype == torch.uint8 and labels.shape == expected.shape and len(expected.unique()) > 1
            shares.append((labels == expected).float().mean().item())
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


def test_a_build_logs_its_progress_and_its_time(shipped_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    build = import_module('enet_ros.engines.tensorrt.build').build
    spec = dataclasses.replace(SPEC, precision='fp16')
    engine = build(read_model(shipped_model), spec, progress_interval=0)  # it takes only seconds
    assert isinstance(engine, bytes) and engine
    assert re.search(r'building: .+, step \d+ of \d+', caplog.text)
    assert 'building for TensorRT' in caplog.text and '96x64 in fp16' in caplog.text and 'built in' in caplog.text


def test_sigint_stops_a_build_and_is_raised(shipped_model: Path) -> None:
    # in its own process: rclpy, which other tests import, has a signal handler
    script = f"""
import logging, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
import tensorrt_rtx
sys.modules['tensorrt'] = tensorrt_rtx
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.tensorrt.build import build
from enet_ros.network.model_file import read_model

class InterruptAtFirstProgress(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith('building: '):
            log.removeHandler(self)
            os.kill(os.getpid(), signal.SIGINT)

log = logging.getLogger('enet_ros')
log.setLevel(logging.INFO)
log.addHandler(InterruptAtFirstProgress())
try:
    build(read_model(Path({str(shipped_model)!r})), EngineSpec('tensorrt', 'fp16', 96, 64), progress_interval=0)
except KeyboardInterrupt:
    print('interrupted', signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout == 'interrupted True\n', done.stderr


def test_a_build_in_a_node_leaves_sigint_to_rclpy(shipped_model: Path) -> None:
    pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it')
    script = f"""
import os, signal, sys, time
import rclpy
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the node does
rclpy.init()
import tensorrt_rtx
sys.modules['tensorrt'] = tensorrt_rtx
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.tensorrt.build import build
from enet_ros.network.model_file import read_model

build(read_model(Path({str(shipped_model)!r})), EngineSpec('tensorrt', 'fp16', 96, 64))
os.kill(os.getpid(), signal.SIGINT)
deadline = time.monotonic() + 20
while rclpy.ok() and time.monotonic() < deadline:
    time.sleep(0.01)
print(rclpy.ok())
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout == 'False\n', done.stderr


def test_a_graph_that_the_parser_rejects_is_one_line_with_the_remedy() -> None:
    parse = import_module('enet_ros.engines.tensorrt.network').parse
    with pytest.raises(EngineError, match=r'cannot read the ONNX graph .*: calibrate again$') as caught:
        parse(_empty()[1], b'not a graph', 'calibrate again')
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(find_spec('nncf') is None, reason='needs nncf: pip install nncf onnxruntime')
def test_tensorrt_reads_a_quantised_graph(shipped_model: Path) -> None:
    from enet_ros.engines.int8 import quantize

    definition = import_module('enet_ros.engines.tensorrt.network')
    model = read_model(shipped_model)
    scenes = [np.ascontiguousarray(draw_scene(20 * number, *SPEC.size)[0][..., ::-1]) for number in range(4)]
    graph = quantize(definition.export(model, WITH_CONFIDENCE), model, SPEC, scenes)
    for spec, outputs in ((WITH_CONFIDENCE, 2), (SPEC, 1)):  # one graph serves both
        _, network = _empty(strongly_typed=False)
        definition.define_network(network, model, dataclasses.replace(spec, precision='int8'), graph)
        assert network.num_outputs == outputs
    # tensorrt-rtx builds no int8 convolutions, so the network is only interpreted
    kinds = [network.get_layer(index).type.name for index in range(network.num_layers)]
    assert kinds.count('QUANTIZE') > kinds.count('CONVOLUTION') > 80
    # on drawings and noise, calibrated with four drawings; a graph that is read wrongly keeps far fewer labels
    assert 0.6 < min(_shares(network, model)) < 1

"""Quantise a model to int8 after training, with NNCF on its ONNX graph. Free of PyTorch.

The result has explicit pairs of QuantizeLinear and DequantizeLinear around what is computed in int8. OpenVINO and every
supported version of TensorRT read this form. It is cached, because calibration needs images that later starts do not have.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.cache import load_entry, store_entry
from enet_ros.engines.onnx_graph import GRAPH_VERSION
from enet_ros.errors import CalibrationError, EnetError, EngineError
from enet_ros.hardware import cpu_saturates_int8
from enet_ros.network.model_file import ModelFile

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

QUANTIZED_VERSION = '4'
"""Increase it when the same weights and images lead to another graph."""
PACKAGES = ('nncf', 'onnx', 'onnxruntime')
MAXIMUM_IMAGES = 300
"""More images hardly change the measured ranges and take longer."""
_FEW_IMAGES = 20


def check_packages() -> None:
    """Check that the packages for quantisation are installed.

    Raises:
        EngineError: one is missing.

    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise EngineError(f'quantising to int8 needs {", ".join(missing)}: pip install {" ".join(missing)}')


def quantized_entry(model: ModelFile, spec: EngineSpec) -> tuple[str, dict[str, str]]:
    """Return file name and key, in the cache, of the int8 graph of `model` for the backend and size of `spec`."""
    key = {
        'model': model.sha256, 'size': f'{spec.width}x{spec.height}', 'backend': spec.backend,
        'weights': f'{7 if _needs_half_range(spec) else 8} bits', 'version': f'{GRAPH_VERSION}.{QUANTIZED_VERSION}',
    }
    bits = key['weights'].replace(' ', '-')
    return f'{model.sha256[:16]}-{key["size"]}-{spec.backend}-int8-{bits}-v{key["version"]}.graph', key


def load_quantized_graph(model: ModelFile, spec: EngineSpec) -> bytes | None:
    """Return the cached int8 graph of `model` for the backend and size of `spec`, or None. Log why one is not used."""
    try:
        return load_entry(*quantized_entry(model, spec))
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning('the int8 graph must be calibrated again: %s', error)
        return None


def store_quantized_graph(graph: bytes, model: ModelFile, spec: EngineSpec) -> None:
    """Put an int8 graph into the cache. Log a warning where that fails."""
    try:
        log.info('cached in %s', store_entry(*quantized_entry(model, spec), graph))
    except EnetError as error:
        log.warning('the int8 graph is not cached and must be calibrated again at the next start: %s', error)


def quantize(graph: bytes, model: ModelFile, spec: EngineSpec, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Return the int8 form of `graph`, the float32 ONNX graph of `model`, for the backend of `spec`.

    `images` (H x W x 3, uint8, RGB, of the size of `spec`) set the ranges of activations. About a hundred images from the
    camera's environment are enough.

    Raises:
        CalibrationError: there are no images.
        EngineError: a package is missing.

    """
    if not images:
        raise CalibrationError(
            f'precision int8 needs calibration images: enet build-engine --model {quote(str(model.path))} '
            f'--size {spec.width}x{spec.height} --precision int8 --backend {spec.backend} --calibration FOLDER'
        )
    log.info('quantising with %d images', len(images))
    if len(images) < _FEW_IMAGES:
        log.warning('%d calibration images are few: use at least %d', len(images), _FEW_IMAGES)
    return quantize_graph(graph, images, zero_points=spec.backend == 'openvino', half_range=_needs_half_range(spec))


def _needs_half_range(spec: EngineSpec) -> bool:
    return spec.backend == 'openvino' and cpu_saturates_int8()


def quantize_graph(
    graph: bytes, images: Sequence[NDArray[np.uint8]], *, zero_points: bool, half_range: bool = False
) -> bytes:
    """Return the int8 form of an ONNX graph.

    With `zero_points`, activations that are mostly of one sign use the whole range, at a small cost in time. Without, all
    zero points are 0, all types int8, and weights in float32 with a pair of operations, as TensorRT requires. With
    `half_range`, weights use half the range, so that sums of two products fit into 16 bits.

    Transposed convolutions stay in floating point: TensorRT takes scales per input channel there, and NNCF writes them per
    output channel.

    Raises:
        EngineError: a package is missing.

    """
    check_packages()
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)
    model = onnx.load_from_string(graph)
    name = model.graph.input[0].name
    presets, fixes = nncf.QuantizationPreset, nncf.OverflowFix
    with redirect_stdout(sys.stderr):  # progress bars
        quantized = nncf.quantize(
            model, nncf.Dataset([{name: image[None]} for image in images]), subset_size=len(images),
            preset=presets.MIXED if zero_points else presets.PERFORMANCE,
            # without validation: NNCF removes some operations, such as a cast to the same type, first
            ignored_scope=nncf.IgnoredScope(
                names=_confidence_operations(model.graph), types=['ConvTranspose'], validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=fixes.ENABLE if half_range else fixes.DISABLE
            ),
        )
    if not zero_points:
        _make_signed(quantized)
        _pair_weights(quantized)
    data: bytes = quantized.SerializeToString()
    return data


def _confidence_operations(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the operations that only the second output depends on. In int8 they would lose its precision."""
    producers = {name: node for node in graph.node for name in node.output}

    def operations(output: str) -> set[str]:
        found: dict[str, onnx.NodeProto] = {}
        waiting = [output]
        while waiting:
            node = producers.get(waiting.pop())
            if node is not None and node.name not in found:
                found[node.name] = node
                waiting.extend(node.input)
        return set(found)

    labels, *others = (operations(output.name) for output in graph.output)
    return sorted(set().union(*others) - labels)


def _make_signed(model: onnx.ModelProto) -> None:
    """Turn the uint8 that NNCF chooses for activations without negative values into the positive half of int8."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    operations = ('QuantizeLinear', 'DequantizeLinear')
    pairs = {tuple(node.input[1:3]) for node in model.graph.node if node.op_type in operations}
    for scale, zero in sorted(pairs):
        if (point := numpy_helper.to_array(constants[zero])).dtype == np.uint8:
            steps = np.float32(np.iinfo(np.uint8).max / np.iinfo(np.int8).max)
            wider = numpy_helper.to_array(constants[scale]) * steps
            constants[scale].CopyFrom(numpy_helper.from_array(wider, scale))
            constants[zero].CopyFrom(numpy_helper.from_array(point.astype(np.int8), zero))


def _pair_weights(model: onnx.ModelProto) -> None:
    """Store weights in float32 before a QuantizeLinear, instead of in int8, which TensorRT 8 refuses as constants."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == 'DequantizeLinear' and (weights := constants.get(node.input[0])) is not None:
            axis = next((entry.i for entry in node.attribute if entry.name == 'axis'), 1)
            values, scale = numpy_helper.to_array(weights), numpy_helper.to_array(constants[node.input[1]])
            steps = scale.reshape([-1 if place == axis else 1 for place in range(values.ndim)]) if scale.size > 1 else scale
            weights.CopyFrom(numpy_helper.from_array(values * steps, weights.name))
            quantized = f'{weights.name}/quantized'
            quantize = helper.make_node('QuantizeLinear', [weights.name, *node.input[1:]], [quantized], quantized)
            quantize.attribute.extend(node.attribute)
            node.input[0] = quantized
            nodes.append(quantize)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)

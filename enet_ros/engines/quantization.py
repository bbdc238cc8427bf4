"""Quantise an ONNX graph to int8 after training, with NNCF; free of torch.

What comes out is explicit: pairs of QuantizeLinear and DequantizeLinear around what is computed in int8, which OpenVINO and
every version of TensorRT read.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.engine import EngineError

if TYPE_CHECKING:
    import onnx

PACKAGES = ('nncf', 'onnx', 'onnxruntime')


def check_packages() -> None:
    """Raise EngineError where a package that quantising needs is not installed."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise EngineError(f'quantising to int8 needs {", ".join(missing)}: pip install {" ".join(missing)}')


def quantize_graph(graph: bytes, images: Sequence[NDArray[np.uint8]], *, zero_points: bool) -> bytes:
    """Return the int8 form of the ONNX graph `graph`.

    `images` (H x W x 3, uint8, RGB, all of one size that the graph takes) set the ranges of its activations: some hundred,
    like those the network will see. `zero_points` lets activations that are mostly of one sign use the whole range, at a
    little time; without it all are 0 and all types int8, which TensorRT insists on. The graph's metadata is kept.

    Raises:
        EngineError: a package is missing, or there is no image.

    """
    check_packages()
    if not images:
        raise EngineError('quantising to int8 needs images to calibrate with, and there are none: check the folder')
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)
    model = onnx.load_from_string(graph)
    name = model.graph.input[0].name
    presets = nncf.QuantizationPreset
    with redirect_stdout(sys.stderr):  # its progress bars
        quantized = nncf.quantize(
            model, nncf.Dataset([{name: image[None]} for image in images]), subset_size=len(images),
            preset=presets.MIXED if zero_points else presets.PERFORMANCE,
        )
    if not zero_points:
        _make_signed(quantized)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    data: bytes = quantized.SerializeToString()
    return data


def _make_signed(model: onnx.ModelProto) -> None:
    """Turn the uint8 that NNCF takes for activations without negative values into the positive half of int8."""
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

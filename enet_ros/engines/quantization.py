"""Quantise an ONNX graph to int8 after training, with NNCF; free of torch.

What comes out is explicit: pairs of QuantizeLinear and DequantizeLinear around what is computed in int8, which OpenVINO and
every version of TensorRT read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.engine import EngineError
from enet_ros.files import replacing

if TYPE_CHECKING:
    import onnx

PACKAGES = ('nncf', 'onnx', 'onnxruntime')


def quantize_graph(graph: Path, images: Sequence[NDArray[np.uint8]], out: Path) -> None:
    """Write the int8 form of the ONNX graph at `graph` to `out`, whole or not at all.

    `images` (H x W x 3, uint8, RGB, all of one size that the graph takes) set the ranges of its activations: some hundred,
    like those the network will see. All zero points are 0 and all types int8, which TensorRT insists on. Metadata of the
    graph is kept.

    Raises:
        EngineError: a package is missing, or there is no image.
        EnetError: `out` cannot be written.

    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise EngineError(f'quantising to int8 needs {", ".join(missing)}: pip install {" ".join(missing)}')
    if not images:
        raise EngineError('quantising to int8 needs images to calibrate with, and there are none: check the folder')
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)
    name = (model := onnx.load(str(graph))).graph.input[0].name
    quantized = nncf.quantize(
        model, nncf.Dataset([{name: image[None]} for image in images]), subset_size=len(images),
        preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric
    )
    _make_signed(quantized)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    with replacing(out) as temporary:
        onnx.save(quantized, str(temporary))


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

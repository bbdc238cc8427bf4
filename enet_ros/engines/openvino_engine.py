"""ENet in OpenVINO, on the CPU. Free of PyTorch where the model's ONNX graph is available."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.engines.int8 import load_quantized_graph, quantize, store_quantized_graph
from enet_ros.engines.onnx_graph import load_graph
from enet_ros.engines.owner_thread import OwnerThread
from enet_ros.errors import EngineError
from enet_ros.hardware import cpu_has_bf16
from enet_ros.network.model_file import ModelFile

_TYPES = {'fp32': openvino.Type.f32, 'bf16': openvino.Type.bf16, 'int8': openvino.Type.f32}
"""With int8, the operations that stay in floating point are faster in float32: fewer casts."""

_OWNER = OwnerThread('openvino')
"""Creates and releases every OpenVINO model.

Compiling a model (OpenVINO 2026.4.1) sets an alternate signal stack in the calling thread, and releasing the model restores
the one found before. Models that are released in the order in which they were compiled leave the thread with a stack that is
no longer mapped, and the next signal that Python handles there crashes the process. An alternate signal stack belongs to its
thread, and this thread handles no signals.
"""


_PATIENCE = 10.0
"""Seconds to wait for the release of a model, which takes milliseconds."""


class OpenVinoEngine:
    """The exported graph, compiled for one batch shape. Normalisation and argmax are part of the graph."""

    device = 'cpu'

    def __init__(self, model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]] = ()) -> None:
        """Compile `model` for a resolved `spec`. Precision auto is bf16 where the CPU computes in it, else fp32.

        Precision int8 needs `calibration` images (H x W x 3, uint8, RGB, of the network's size) the first time. With
        them it is calibrated again.

        Raises:
            EngineError: the CPU lacks the precision, or the graph must be exported and PyTorch or onnx is missing.
            CalibrationError: precision int8 has no cached graph and no images.
            ModelFileError: the weights do not fit their architecture.

        """
        self.spec = replace(spec, backend='openvino', precision=_choose_precision(spec.precision))
        self._model = model
        self._quantized: bytes | None = None
        if self.spec.precision == 'int8':
            graph = None if calibration else load_quantized_graph(model, self.spec)
            if graph is None:
                graph = self._quantized = quantize(load_graph(model), model, self.spec, calibration)
        else:
            graph = load_graph(model)
        self.is_new = self._quantized is not None
        self._held = held = _Held()
        weakref.finalize(self, _release, held)  # also when the next line is interrupted
        _OWNER.call(partial(held.compile, graph, self.spec))

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images` (N x H x W x 3, uint8, RGB). The next call overwrites them."""
        request = self._held.request
        request.infer([images], share_inputs=True)
        confidence = request.get_output_tensor(1).data if self.spec.confidence else None
        return Prediction(request.get_output_tensor(0).data, confidence)

    @property
    def request(self) -> Any:  # noqa: ANN401 - openvino.InferRequest, which has no types
        """Return OpenVINO's inference request. Its `infer()` runs the network again on the last images, for a benchmark."""
        return self._held.request

    def store(self) -> None:
        """Put the quantised graph into the cache, if this engine made one."""
        if self._quantized is not None:
            store_quantized_graph(self._quantized, self._model, self.spec)


class _Held:
    """What only `_OWNER` may create and release. A request holds its compiled model."""

    request: Any = None

    def compile(self, graph: bytes, spec: EngineSpec) -> None:
        self.request = compile_graph(graph, spec).create_infer_request()

    def release(self) -> None:
        self.request = None


def _release(held: _Held) -> None:
    """Release a model. Give up waiting after some seconds: this also runs at exit, which must not hang."""
    with suppress(TimeoutError):
        _OWNER.call(held.release, timeout=_PATIENCE)


def compile_graph(graph: bytes, spec: EngineSpec, *, count: bool = False) -> openvino.CompiledModel:
    """Compile an ONNX graph of `export_graph` for `spec`, with `count` so that its requests profile each operation.

    Call it, and drop what it returns, on a thread that handles no signals: see `_OWNER`.
    """
    core = openvino.Core()
    network = core.read_model(graph)
    if not spec.confidence:  # operations that no output depends on are left out
        network = openvino.Model([network.get_results()[0]], network.get_parameters(), 'labels')
    network.reshape([spec.batch, spec.height, spec.width, 3])
    return core.compile_model(network, 'CPU', {
        'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': _TYPES[spec.precision], 'PERF_COUNT': count,
        'INFERENCE_NUM_THREADS': spec.threads,
        # pinned threads cannot leave a busy core, and those of every process are pinned to the same cores, the first ones
        'ENABLE_CPU_PINNING': False,
    })


def _choose_precision(precision: str) -> str:
    has_bf16 = cpu_has_bf16()
    if precision == 'auto':
        return 'bf16' if has_bf16 else 'fp32'
    if precision not in _TYPES or (precision == 'bf16' and not has_bf16):
        choices = 'fp32, bf16 or int8' if has_bf16 else 'fp32 or int8'
        raise EngineError(f'precision {precision} is not supported by this CPU with backend openvino: choose {choices}')
    return precision

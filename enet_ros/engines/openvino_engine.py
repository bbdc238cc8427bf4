"""ENet in OpenVINO, on the CPU; free of torch where the model's ONNX graph is at hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from enet_ros.cpu import cpu_has_bf16
from enet_ros.engines.calibration import quantized_graph
from enet_ros.engines.engine import EngineError
from enet_ros.engines.onnx_graph import GRAPH_VERSION, MODEL_KEY, VERSION_KEY, export_graph, graph_paths
from enet_ros.network.model_file import ModelFile

_TYPES = {'fp32': openvino.Type.f32, 'bf16': openvino.Type.bf16, 'int8': openvino.Type.f32}
"""What is left in floats with int8 takes less time in float32: fewer casts."""


class OpenVinoEngine:
    """The exported graph, compiled for one image size: bytes in and label ids out are inside it."""

    backend = 'openvino'
    device = 'cpu'

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str, batch: int = 1,
                 calibration: Path | None = None, counting: bool = False) -> None:
        """Compile `model` for images of `size` (width, height); precision auto is bf16 where the CPU has it, else fp32.

        Precision int8 needs images to calibrate with, in `calibration`, the first time. With `counting`, `operations` tells
        how long each took, at the cost of some time.

        Raises:
            EngineError: the CPU lacks the precision, or the graph must be exported and torch or onnx is missing.
            EnetError: the graph cannot be exported.

        """
        core = openvino.Core()
        has_bf16 = cpu_has_bf16()
        if precision == 'auto':
            precision = 'bf16' if has_bf16 else 'fp32'
        if precision not in _TYPES or (precision == 'bf16' and not has_bf16):
            has = 'fp32, bf16 or int8' if has_bf16 else 'fp32 or int8'
            raise EngineError(f'precision {precision} is not supported by this CPU with backend openvino: choose {has}')
        if precision == 'int8':
            path = quantized_graph(
                model, size, self.backend, calibration, lambda: _find_graph(core, model).read_bytes()
            )
            if not _is_graph_of(core, path, model):
                raise EngineError(f'the quantised graph {path} is damaged: delete it and calibrate again')
        else:
            path = _find_graph(core, model)
        graph = core.read_model(path)
        graph.reshape([batch, size[1], size[0], 3])
        compiled = core.compile_model(
            graph, 'CPU',
            {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': _TYPES[precision], 'PERF_COUNT': counting},
        )
        self.precision = precision
        self.size, self.batch = size, batch
        self._shape = (batch, size[1], size[0], 3)
        self._request = compiled.create_infer_request()

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB), or of a batch of them.

        The next call overwrites them.
        """
        self._request.infer([image.reshape(self._shape)], share_inputs=True)
        labels: NDArray[np.uint8] = self._request.get_output_tensor().data
        return labels.reshape(image.shape[:-1])

    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the last image."""
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._request.infer()
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def operations(self) -> list[tuple[str, str, float]]:
        """Return name, kind and milliseconds of each operation in the last run."""
        return [
            (counted.node_name, f'{counted.node_type} {counted.exec_type}', 1e3 * counted.real_time.total_seconds())
            for counted in self._request.profiling_info
        ]


def _find_graph(core: openvino.Core, model: ModelFile) -> Path:
    beside, cached = graph_paths(model)
    for path in (beside, cached):
        if _is_graph_of(core, path, model):
            return path
    export_graph(model, cached)
    if not _is_graph_of(core, cached, model):
        raise EngineError(f'the graph just exported to {cached} cannot be read back: check the disk')
    return cached


def _is_graph_of(core: openvino.Core, path: Path, model: ModelFile) -> bool:
    """Return whether there is a graph at `path`, it is whole, and it was made of the weights of `model`."""
    if not path.is_file():
        return False
    try:
        graph = core.read_model(path)
        written = [graph.get_rt_info(['framework', key]).astype(str) for key in (MODEL_KEY, VERSION_KEY)]
    except RuntimeError:  # OpenVINO's for a damaged file and for a missing key
        return False
    return written == [model.sha256, GRAPH_VERSION]

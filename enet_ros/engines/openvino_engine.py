"""ENet in OpenVINO, on the CPU; free of torch where the model's ONNX graph is at hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from enet_ros.engines.engine import EngineError
from enet_ros.engines.onnx_graph import GRAPH_VERSION, MODEL_KEY, VERSION_KEY, export_graph, graph_paths
from enet_ros.network.model_file import ModelFile

_TYPES = {'fp32': openvino.Type.f32, 'bf16': openvino.Type.bf16}


class OpenVinoEngine:
    """The exported graph, compiled for one image size: bytes in and label ids out are inside it."""

    backend = 'openvino'
    device = 'cpu'

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str, batch: int = 1) -> None:
        """Compile `model` for images of `size` (width, height); precision auto is bf16 where the CPU has it, else fp32.

        Raises:
            EngineError: the CPU lacks the precision, or the graph must be exported and torch or onnx is missing.
            EnetError: the graph cannot be exported.

        """
        core = openvino.Core()
        has_bf16 = _cpu_has_bf16()
        if precision == 'auto':
            precision = 'bf16' if has_bf16 else 'fp32'
        if precision not in _TYPES or (precision == 'bf16' and not has_bf16):
            has = 'fp32 or bf16' if has_bf16 else 'fp32'
            raise EngineError(f'precision {precision} is not supported by this CPU with backend openvino: choose {has}')
        graph = _find_graph(core, model)
        graph.reshape([batch, size[1], size[0], 3])
        compiled = core.compile_model(
            graph, 'CPU', {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': _TYPES[precision]}
        )
        self.precision = precision
        self.size, self.batch = size, batch
        self._shape = (batch, size[1], size[0], 3)
        self._request = compiled.create_infer_request()

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB), or of a batch; the next call overwrites them."""
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


def _cpu_has_bf16() -> bool:
    """Return whether the CPU has instructions for bf16; OpenVINO's own list also names it where it is emulated, slowly."""
    try:
        flags = Path('/proc/cpuinfo').read_text(encoding='utf-8').split()
    except OSError:
        return False
    return not {'avx512_bf16', 'amx_bf16'}.isdisjoint(flags)


def _find_graph(core: openvino.Core, model: ModelFile) -> openvino.Model:
    beside, cached = graph_paths(model)
    for path in (beside, cached):
        graph = _read_graph(core, path, model)
        if graph is not None:
            return graph
    export_graph(model, cached)
    graph = _read_graph(core, cached, model)
    if graph is None:
        raise EngineError(f'the graph just exported to {cached} cannot be read back: check the disk')
    return graph


def _read_graph(core: openvino.Core, path: Path, model: ModelFile) -> openvino.Model | None:
    """Return the graph at `path`, or None when there is none, it is damaged, or it was made of other weights."""
    if not path.is_file():
        return None
    try:
        graph = core.read_model(path)
        written = [graph.get_rt_info(['framework', key]).astype(str) for key in (MODEL_KEY, VERSION_KEY)]
    except RuntimeError:  # OpenVINO's for a damaged file and for a missing key
        return None
    return graph if written == [model.sha256, GRAPH_VERSION] else None

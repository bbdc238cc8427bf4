"""Where the time of an engine goes: its operations by kind."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from enet_ros.benchmark.case import Operation
from enet_ros.engines.base import Engine, EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.engines.int8 import load_quantized_graph
from enet_ros.engines.onnx_graph import load_graph
from enet_ros.engines.owner_thread import OwnerThread
from enet_ros.errors import NotMeasurableError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import ModelFile

_WARM_UP, _RUNS = 5, 20
_OWNER = OwnerThread('openvino-profile')
"""Compiles and releases models: see `openvino_engine.py`."""


def profile(model: ModelFile, spec: EngineSpec) -> list[Operation]:
    """Return the operations of one run, longest first. The size and precision of `spec` must be given.

    OpenVINO has its own counters, which cost some time. PyTorch's profiler observes all other backends.

    Raises:
        EnetError: the engine cannot be created.

    """
    images = np.stack([draw_scene(number, *spec.size)[0][..., ::-1] for number in range(spec.batch)])
    if spec.backend == 'openvino':
        times = _OWNER.call(lambda: _profile_openvino(model, spec, images))
    else:
        times = _profile_pytorch(create_engine(model, spec), images)
    return sorted(((kind, count, total) for kind, (count, total) in times.items()), key=lambda operation: -operation[2])


def _profile_openvino(model: ModelFile, spec: EngineSpec, images: NDArray[np.uint8]) -> dict[str, tuple[int, float]]:
    from enet_ros.engines.openvino_engine import compile_graph  # imports OpenVINO, which is optional

    graph = load_quantized_graph(model, spec) if spec.precision == 'int8' else load_graph(model)
    if graph is None:
        raise NotMeasurableError('the int8 graph is not in the cache: run "enet build-engine" first')
    request = compile_graph(graph, spec, count=True).create_infer_request()
    runs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(_WARM_UP + _RUNS):
        request.infer([images], share_inputs=True)
        for counted in request.profiling_info:
            kind = f'{counted.node_type} {counted.exec_type}'
            runs[counted.node_name, kind].append(1e3 * counted.real_time.total_seconds())
    times: dict[str, tuple[int, float]] = {}
    for (_, kind), values in runs.items():
        if (typical := float(np.median(values[_WARM_UP:]))) > 0:  # an operation fused into another one takes no time
            count, total = times.get(kind, (0, 0.0))
            times[kind] = (count + 1, total + typical)
    return times


def _profile_pytorch(engine: Engine, images: NDArray[np.uint8]) -> dict[str, tuple[int, float]]:
    import torch  # optional, and large: OpenVINO is measured without it

    for _ in range(_WARM_UP):
        engine.infer(images)
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CUDA if engine.device == 'cuda' else activity.CPU]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(_RUNS):
            engine.infer(images)
    times = {}
    for event in profiler.key_averages():
        microseconds = event.self_device_time_total if engine.device == 'cuda' else event.self_cpu_time_total
        if microseconds > 0:
            times[event.key] = (round(event.count / _RUNS), microseconds / _RUNS / 1e3)
    return times

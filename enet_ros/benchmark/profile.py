"""Where the time of an engine goes: its operations, by kind."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import Engine
from enet_ros.engines.create import create_engine
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import ModelFile

if TYPE_CHECKING:
    from enet_ros.engines.openvino_engine import OpenVinoEngine

_WARM_UP, _RUNS = 5, 20


def profile(model: ModelFile, backend: str, precision: str, size: tuple[int, int]) -> list[tuple[str, int, float]]:
    """Return kind, number and milliseconds of the operations of one run on an image of `size`, the longest first.

    OpenVINO counts by itself, which costs some time; everything else is watched by PyTorch's profiler.

    Raises:
        EnetError: the engine cannot be made.

    """
    image = np.ascontiguousarray(draw_scene(0, *size)[0][..., ::-1])
    if backend == 'openvino':
        from enet_ros.engines.openvino_engine import OpenVinoEngine

        counting = OpenVinoEngine(model, size, precision, counting=True)
        times = _of_openvino(counting, image)
    else:
        times = _of_pytorch(create_engine(model, size, backend, precision), image)
    return sorted(((kind, count, total) for kind, (count, total) in times.items()), key=lambda entry: -entry[2])


def _of_openvino(engine: OpenVinoEngine, image: NDArray[np.uint8]) -> dict[str, tuple[int, float]]:
    runs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(_WARM_UP + _RUNS):
        engine.infer(image)
        for name, kind, milliseconds in engine.operations():
            runs[name, kind].append(milliseconds)
    times: dict[str, tuple[int, float]] = {}
    for (_, kind), values in runs.items():
        if (typical := float(np.median(values[_WARM_UP:]))) > 0:  # what was joined to another operation takes none
            count, total = times.get(kind, (0, 0.0))
            times[kind] = (count + 1, total + typical)
    return times


def _of_pytorch(engine: Engine, image: NDArray[np.uint8]) -> dict[str, tuple[int, float]]:
    import torch

    for _ in range(_WARM_UP):
        engine.infer(image)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if engine.device == 'cuda':
        activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(_RUNS):
            engine.infer(image)
    times = {}
    for event in profiler.key_averages():
        microseconds = event.self_device_time_total if engine.device == 'cuda' else event.self_cpu_time_total
        if microseconds > 0:
            times[event.key] = (round(event.count / _RUNS), microseconds / _RUNS / 1e3)
    return times

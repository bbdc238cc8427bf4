"""Time the network of an engine without the copies to and from a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import Engine

if TYPE_CHECKING:
    from enet_ros.benchmark.eager import EagerEngine
    from enet_ros.engines.cuda_graph import CudaGraph
    from enet_ros.engines.openvino_engine import OpenVinoEngine
    from enet_ros.engines.torch_engine import TorchEngine

Timer = Callable[[int], list[float]]
"""Runs something a number of times and returns the milliseconds of each run."""


def network_timer(engine: Engine, images: NDArray[np.uint8]) -> Timer:
    """Return a timer of the network of `engine`, from bytes to class ids. Its last call must have been with `images`."""
    if engine.spec.backend == 'openvino':
        return stopwatch(cast('OpenVinoEngine', engine).request.infer)  # on the images of the last call
    graph: CudaGraph | None = getattr(engine, 'graph', None)
    return _graph_timer(graph) if graph else _pytorch_timer(cast('TorchEngine | EagerEngine', engine), images)


def stopwatch(work: Callable[[], object]) -> Timer:
    """Return a timer of `work` by this computer's clock."""

    def times(runs: int) -> list[float]:
        milliseconds = []
        for _ in range(runs):
            start = time.perf_counter()
            work()
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return milliseconds

    return times


def _graph_timer(graph: CudaGraph) -> Timer:
    """Return a timer by the GPU's clock, which leaves out the launch: the GPU queues the runs."""
    import torch  # a robot without PyTorch measures, too

    network = graph.capture_network()

    def times(runs: int) -> list[float]:
        events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]  # type: ignore[no-untyped-call]
        with torch.cuda.stream(graph.stream):
            events[0].record()
            for event in events[1:]:
                network.replay()
                event.record()
        graph.stream.synchronize()
        return [before.elapsed_time(after) for before, after in pairwise(events)]

    return times


def _pytorch_timer(engine: TorchEngine | EagerEngine, images: NDArray[np.uint8]) -> Timer:
    import torch

    on_device = torch.from_numpy(images).to(engine.device)

    @torch.inference_mode()
    def run() -> None:
        engine.network(on_device)
        if engine.device == 'cuda':
            torch.cuda.synchronize()

    return stopwatch(run)

"""Run a network on an NVIDIA GPU as one CUDA graph, copies included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.engines.base import EngineSpec, Prediction, is_lack_of_memory
from enet_ros.errors import EngineError

Compute = Callable[[Tensor, tuple[Tensor, ...]], None]
"""Queues on the current stream the work that fills the outputs (each N x H x W, uint8: labels and, where the spec asks for
it, confidence) from images (N x H x W x 3, uint8). All of them are on the GPU."""

_CUDNN = {'enabled': True, 'benchmark': True, 'allow_tf32': False}
"""The sizes never change: cuDNN tries its algorithms while warming up, and the graph keeps the fastest. Without TF32:
float32 is the reference for other precisions."""

_WARM_UP = 3
"""Runs before the capture, in which libraries load their kernels and choose among them."""


class CudaGraph:
    """One computation on batch after batch: both copies and all kernels are one CUDA graph on its own stream.

    One batch costs one launch: ENet's many small kernels take longer to launch than to run. All memory is allocated once,
    here. The host's memory is pinned, so that its copies are part of the graph.
    """

    @torch.inference_mode()
    def __init__(self, spec: EngineSpec, compute: Compute) -> None:
        """Warm up and capture `compute` for a resolved `spec`. What `compute` uses must live as long as this object."""
        shape = (spec.batch, spec.height, spec.width)
        outputs = 2 if spec.confidence else 1
        host_images = torch.zeros((*shape, 3), dtype=torch.uint8, pin_memory=True)
        host_results = tuple(torch.zeros(shape, dtype=torch.uint8, pin_memory=True) for _ in range(outputs))
        images, results = host_images.cuda(), tuple(result.cuda() for result in host_results)

        def run() -> None:
            images.copy_(host_images, non_blocking=True)
            compute(images, results)
            for host_result, result in zip(host_results, results):
                host_result.copy_(result, non_blocking=True)

        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())  # which may still be filling weights and the memory above
        with torch.cuda.stream(self.stream), torch.backends.cudnn.flags(**_CUDNN):
            for _ in range(_WARM_UP):
                run()
        self._graph = self.capture(run)
        self._compute, self._device = compute, (images, results)
        self._host = host_images, host_results  # a graph keeps addresses only
        self._images: NDArray[np.uint8] = host_images.numpy()
        self._results: tuple[NDArray[np.uint8], ...] = tuple(result.numpy() for result in host_results)

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images` (N x H x W x 3, uint8). The next call overwrites them."""
        np.copyto(self._images, images)
        with torch.cuda.stream(self.stream):
            self._graph.replay()
        self.stream.synchronize()
        return Prediction(*self._results)

    @torch.inference_mode()
    def capture_network(self) -> torch.cuda.CUDAGraph:
        """Return a graph of the computation alone, on the last images and without copies, for a benchmark."""
        return self.capture(lambda: self._compute(*self._device))

    def capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Return `work` as a graph; replay it on `stream`."""
        graph = torch.cuda.CUDAGraph()
        # thread_local: another engine's thread may use the GPU meanwhile
        with (torch.backends.cudnn.flags(**_CUDNN),
              torch.cuda.graph(graph, stream=self.stream, capture_error_mode='thread_local')):
            work()
        return graph


@contextmanager
def gpu_memory(spec: EngineSpec) -> Iterator[None]:
    """Turn a lack of GPU memory in the block (a MemoryError or a CUDA error) into an EngineError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) and not is_lack_of_memory(str(error)):
            raise
        raise EngineError(
            f'not enough GPU memory for backend {spec.backend} at {spec.width}x{spec.height}: '
            'end other programs that use the GPU, or choose a smaller size'
        ) from error

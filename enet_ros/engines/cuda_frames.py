"""How images get onto an NVIDIA GPU and label ids back, for every engine that computes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.engines.engine import EngineError, is_lack_of_memory

Compute = Callable[[Tensor, Tensor], None]
"""Queues on the current stream what fills label ids (N x H x W, uint8) from images (N x H x W x 3, uint8), on the GPU."""

_CUDNN = {'enabled': True, 'benchmark': True, 'allow_tf32': False}
"""The sizes never change: cuDNN tries its algorithms while warming up, and the graph keeps the fastest. Float32 is the
reference that others are held against, so not in TF32."""

_WARM_UP = 3
"""Runs before the capture, in which libraries load their kernels and choose among them."""


class CudaFrames:
    """Runs one computation on frame after frame: two copies and its kernels as one CUDA graph, on a stream of its own.

    A frame costs one launch, since ENet's many small kernels take longer to launch than to run. All memory is allocated
    once, here, and the host's is pinned, so that its copies are part of the graph.
    """

    @torch.inference_mode()
    def __init__(self, shape: tuple[int, ...], compute: Compute) -> None:
        """Warm `compute` up for images of `shape` (N x H x W x 3) and capture it; what it uses must live as long as this."""
        host_image = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        host_labels = torch.zeros(shape[:-1], dtype=torch.uint8, pin_memory=True)
        image, labels = host_image.cuda(), host_labels.cuda()

        def frame() -> None:
            image.copy_(host_image, non_blocking=True)
            compute(image, labels)
            host_labels.copy_(labels, non_blocking=True)

        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream())  # which may still be filling weights and the memory above
        with torch.cuda.stream(self._stream), torch.backends.cudnn.flags(**_CUDNN):
            for _ in range(_WARM_UP):
                frame()
        self._graph = self._capture(frame)
        # a graph holds addresses only
        self._held = (compute, image, labels, host_image, host_labels)
        self._image: NDArray[np.uint8] = host_image.numpy()
        self._labels: NDArray[np.uint8] = host_labels.numpy()

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8), or of a batch, until the next call."""
        np.copyto(self._image, image)
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()
        return self._labels.reshape(image.shape[:-1])

    @torch.inference_mode()
    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs of the computation alone on the last image, by the GPU's clock."""
        compute, image, labels, *_ = self._held
        graph = self._capture(lambda: compute(image, labels))  # anew each time: nothing but a benchmark asks
        events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            events[0].record()
            for event in events[1:]:
                graph.replay()
                event.record()
        self._stream.synchronize()
        return [before.elapsed_time(after) for before, after in pairwise(events)]

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # thread_local: another engine's thread may use the GPU meanwhile
        with (torch.backends.cudnn.flags(**_CUDNN),
              torch.cuda.graph(graph, stream=self._stream, capture_error_mode='thread_local')):
            work()
        return graph


@contextmanager
def gpu_memory(backend: str, size: tuple[int, int]) -> Iterator[None]:
    """Turn a lack of GPU memory in the block, which may also raise MemoryError for it, into an EngineError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) and not is_lack_of_memory(str(error)):
            raise
        raise EngineError(
            f'too little GPU memory for backend {backend} at {size[0]}x{size[1]}: end other programs that use the GPU, '
            'or choose a smaller size'
        ) from error

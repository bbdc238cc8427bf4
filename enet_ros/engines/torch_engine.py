"""ENet in PyTorch, on an NVIDIA GPU where there is one, else on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.compiler import check_compiler
from enet_ros.engines.cuda_frames import CudaFrames, gpu_memory
from enet_ros.engines.engine import EngineError
from enet_ros.errors import EnetError
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling

Network = Callable[[Tensor], Tensor]
"""From images, N x H x W x 3, uint8, to label ids, N x H x W, uint8."""
_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


class TorchEngine:
    """PyTorch with batch normalisation folded and channels last: operation by operation, or fused by torch.compile."""

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str, compiled: bool = False,
                 batch: int = 1) -> None:
        """Load `model` for images of `size` (width, height); precision auto is fp16 on a GPU and fp32 on a CPU.

        `compiled` has torch.compile fuse the network's operations, which takes a minute or more.

        Raises:
            EngineError: the device lacks the precision or the memory, or what torch.compile needs is missing.
            ModelFileError: the weights do not fit their architecture.

        """
        self.backend = 'torch-compile' if compiled else 'torch'
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.size, self.batch = size, batch
        self.precision = precision
        shape = (batch, size[1], size[0], 3)
        if precision == 'auto':
            self.precision = 'fp16' if self.device == 'cuda' else 'fp32'
        if self.precision not in _TYPES:
            has = 'fp32, bf16' if self.device == 'cpu' else 'fp32, fp16, bf16'
            raise EngineError(f'backend {self.backend} does not compute in {precision} here: choose {has} or auto')
        if self.precision == 'fp16' and self.device == 'cpu':
            raise EngineError(f'precision fp16 needs an NVIDIA GPU with backend {self.backend}: choose fp32, bf16 or auto')
        if self.precision == 'bf16' and self.device == 'cuda' and not torch.cuda.is_bf16_supported(False):
            raise EngineError('precision bf16 is not supported by this GPU: choose fp16, fp32 or auto')
        with gpu_memory(self.backend, size):
            # fused, comparisons and selects cost as much as PyTorch's own pooling and take half as long to compile
            pooling = CornerPooling() if compiled else None
            network: Network = InferenceNetwork(model, pooling).to(
                self.device, _TYPES[self.precision], memory_format=torch.channels_last  # type: ignore[call-overload]
            )  # torch's stubs have no memory_format beside the others
            if compiled:
                network = _compile(network, self.device, shape)
            self._frames = _CpuFrames(shape, network) if self.device == 'cpu' else _on_gpu(shape, network)

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB), or of a batch of them.

        The next call may overwrite them.
        """
        return self._frames.run(image)

    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the last image, without copies to and from a GPU."""
        return self._frames.network_times(runs)


class _CpuFrames:
    """Runs a network on the CPU, on image after image."""

    def __init__(self, shape: tuple[int, ...], network: Network) -> None:
        """Run `network` on arrays of `shape`, N x H x W x 3."""
        self._network = network
        self._image = torch.zeros(shape, dtype=torch.uint8)

    @torch.inference_mode()
    def run(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._image = torch.from_numpy(image).view(self._image.shape)
        labels: NDArray[np.uint8] = self._network(self._image).numpy()
        return labels.reshape(image.shape[:-1])

    @torch.inference_mode()
    def network_times(self, runs: int) -> list[float]:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._network(self._image)
            times.append(1e3 * (time.perf_counter() - start))
        return times


def _on_gpu(shape: tuple[int, ...], network: Network) -> CudaFrames:
    def compute(image: Tensor, labels: Tensor) -> None:
        labels.copy_(network(image))

    return CudaFrames(shape, compute)


def _compile(network: Network, device: str, shape: tuple[int, ...]) -> Network:
    """Return `network`, fused for arrays of `shape`, N x H x W x 3; raises EngineError when that is not possible."""
    try:
        check_compiler(device == 'cuda')
    except EnetError as error:
        raise EngineError(f'{error}, or choose backend torch') from error
    compiled = torch.compile(network, dynamic=False)
    try:
        with torch.inference_mode():  # compiles; errors belong here and not to the first image
            compiled(torch.zeros(shape, dtype=torch.uint8, device=device))
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), '') or type(error).__name__
        raise EngineError(f'torch.compile failed ({reason}): choose backend torch') from error
    return compiled

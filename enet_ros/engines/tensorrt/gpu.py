"""The GPU that TensorRT engines are built for and run on."""

from __future__ import annotations

from dataclasses import dataclass

import tensorrt as trt
import torch
from torch import Tensor

from enet_ros.engines.base import BuildOptions, EngineSpec
from enet_ros.engines.cuda_graph import CudaGraph
from enet_ros.engines.tensorrt.build import build
from enet_ros.engines.tensorrt.runner import Runner
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile

OLDEST = (8, 6)
"""The oldest supported TensorRT: the first with a layer that casts, which uint8 needs."""
_CAPABILITY = {'fp32': (0, 0), 'fp16': (5, 3), 'int8': (6, 1)}
"""The lowest compute capability of GPUs that compute in a precision."""


@dataclass(frozen=True)
class Gpu:
    """The current GPU: its properties, and what is done on it."""

    name: str
    capability: tuple[int, int]

    def choose_precision(self, precision: str) -> str:
        """Return the precision to build. Auto is fp16 where this GPU has it, else fp32.

        Raises:
            EngineError: the GPU or TensorRT lacks `precision`.

        """
        has = [name for name, first in _CAPABILITY.items() if self.capability >= first]
        if precision == 'auto':
            return 'fp16' if 'fp16' in has else 'fp32'
        if precision not in has:
            who = 'this GPU' if precision in _CAPABILITY else 'backend tensorrt'
            raise EngineError(f'{who} does not compute in {precision}: choose {", ".join(has)} or auto')
        return precision

    def build(self, model: ModelFile, spec: EngineSpec, graph: bytes | None, options: BuildOptions) -> bytes:
        """Build an engine: see `build.build`."""
        return build(model, spec, graph, options, device=f'{self.name} {".".join(map(str, self.capability))}')

    def start(self, engine: bytes, spec: EngineSpec) -> CudaGraph:
        """Load a serialised engine and return it as a CUDA graph.

        Raises:
            EngineError: TensorRT rejects it.
            MemoryError: there is not enough GPU memory.

        """
        runner = Runner(engine)

        def compute(images: Tensor, results: tuple[Tensor, ...]) -> None:
            addresses = [images.data_ptr(), *(result.data_ptr() for result in results)]
            runner.enqueue(addresses, torch.cuda.current_stream().cuda_stream)

        return CudaGraph(spec, compute)

    def profile(self, engine: bytes, spec: EngineSpec, runs: int = 50) -> dict[str, float]:
        """Return the mean milliseconds of each layer of a serialised engine on black images, in their order.

        Raises:
            EngineError: TensorRT rejects it.
            MemoryError: there is not enough GPU memory.

        """
        shape = (spec.batch, spec.height, spec.width)
        images = torch.zeros((*shape, 3), dtype=torch.uint8, device='cuda')
        results = [torch.zeros(shape, dtype=torch.uint8, device='cuda') for _ in range(1 + spec.confidence)]
        addresses = [tensor.data_ptr() for tensor in (images, *results)]
        return Runner(engine).profile(addresses, torch.cuda.current_stream().cuda_stream, runs)


def find_gpu() -> Gpu:
    """Return the GPU that TensorRT runs on.

    Raises:
        EngineError: TensorRT is too old, or there is no usable GPU.

    """
    check_version(trt.__version__)
    if not torch.cuda.is_available():
        reason = 'this PyTorch is built without CUDA' if torch.version.cuda is None else 'PyTorch finds no usable GPU'
        raise EngineError(f'backend tensorrt needs an NVIDIA GPU and a PyTorch with CUDA, but {reason}: '
                          'install them, or choose backend auto')
    return Gpu(torch.cuda.get_device_name(), torch.cuda.get_device_capability())


def check_version(version: str) -> None:
    """Check that this version of TensorRT is supported.

    Raises:
        EngineError: it is too old.

    """
    if tuple(map(int, version.split('.')[:2])) < OLDEST:
        raise EngineError(f'TensorRT {version} is too old: install {".".join(map(str, OLDEST))} or newer')

"""ENet in PyTorch, on an NVIDIA GPU where there is one, else on the CPU."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.engines.cache import private_folder
from enet_ros.engines.cuda_graph import Compute, CudaGraph, gpu_memory
from enet_ros.errors import EnetError, EngineError, one_line
from enet_ros.hardware import check_compiler
from enet_ros.network.inference import DTYPES, InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling

log = logging.getLogger(__name__)

Network = Callable[[Tensor], 'Tensor | tuple[Tensor, Tensor]']
"""From images (N x H x W x 3, uint8) to class ids or, with confidence, ids and probabilities (N x H x W, uint8)."""

_BF16_CAPABILITY = (8, 0)
"""The lowest compute capability of GPUs that compute in bf16."""
_ALL_THREADS = torch.get_num_threads()
"""What `torch.set_num_threads` or OMP_NUM_THREADS has set, else all cores that the process may use."""


class TorchEngine:
    """PyTorch with folded batch normalisation and channels last, operation by operation or fused by torch.compile.

    On a CPU it sets PyTorch's number of threads, which other PyTorch code in the process then also uses.
    """

    is_new = False

    def __init__(self, model: ModelFile, spec: EngineSpec) -> None:
        """Load `model` for a resolved `spec`. Precision auto is fp16 on a GPU and fp32 on a CPU.

        Backend torch-compile fuses the network's operations, which takes about half a minute at the first start.

        Raises:
            EngineError: the device lacks the precision or the memory, or torch.compile has no compiler.
            ModelFileError: the weights do not fit their architecture.

        """
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.spec = replace(spec, precision=_choose_precision(spec, self.device))
        compiled = spec.backend == 'torch-compile'
        on_gpu = self.device == 'cuda'
        if not on_gpu:
            _use_threads(spec)  # torch.compile fixes their number in its code
        with gpu_memory(self.spec) if on_gpu else nullcontext():
            # when fused, comparisons are as fast as PyTorch's own pooling and compile in half the time
            pooling = CornerPooling() if compiled else None
            self.network: Network = InferenceNetwork(model, pooling, confidence=spec.confidence).to(
                self.device, DTYPES[self.spec.precision], memory_format=torch.channels_last  # type: ignore[call-overload]
            )  # torch's stubs do not have memory_format together with the others
            if compiled:
                self.network = _compile(self.network, self.device, self.spec)
            self.graph = CudaGraph(self.spec, _computation(self.network)) if on_gpu else None

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images` (N x H x W x 3, uint8, RGB). The next call may overwrite them."""
        if self.graph:
            return self.graph.infer(images)
        _use_threads(self.spec)
        writable = np.require(images, requirements='W')  # PyTorch warns about arrays that are read-only
        with torch.inference_mode():
            return Prediction(*(output.numpy() for output in _outputs(self.network(torch.from_numpy(writable)))))

    def store(self) -> None:
        """Do nothing: this engine has nothing to cache."""


def _use_threads(spec: EngineSpec) -> None:
    """Compute with the threads of `spec` on the calling thread."""
    threads = min(spec.threads, len(os.sched_getaffinity(0))) or _ALL_THREADS
    # each thread keeps the number with which it first computed; setting it empties the caches of oneDNN
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _computation(network: Network) -> Compute:
    # not a method: engine and graph would hold each other, and GPU memory would wait for garbage collection
    def compute(images: Tensor, results: tuple[Tensor, ...]) -> None:
        for result, output in zip(results, _outputs(network(images))):
            result.copy_(output)

    return compute


def _outputs(output: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def _choose_precision(spec: EngineSpec, device: str) -> str:
    if spec.precision == 'auto':
        return 'fp16' if device == 'cuda' else 'fp32'
    if spec.precision not in DTYPES:
        choices = 'fp32, bf16' if device == 'cpu' else 'fp32, fp16, bf16'
        raise EngineError(f'backend {spec.backend} does not compute in {spec.precision} here: choose {choices} or auto')
    if spec.precision == 'fp16' and device == 'cpu':
        raise EngineError(f'precision fp16 needs an NVIDIA GPU with backend {spec.backend}: choose fp32, bf16 or auto')
    # not torch.cuda.is_bf16_supported(): before PyTorch 2.4 it cannot leave out GPUs that emulate bf16
    if spec.precision == 'bf16' and device == 'cuda' and torch.cuda.get_device_capability() < _BF16_CAPABILITY:
        raise EngineError('precision bf16 is not supported by this GPU: choose fp16, fp32 or auto')
    return spec.precision


def _compile(network: Network, device: str, spec: EngineSpec) -> Network:
    """Return `network` fused for the shape of `spec`. Raise EngineError where that is not possible."""
    try:
        check_compiler(device == 'cuda')
    except EnetError as error:
        raise EngineError(f'{error}, or choose backend torch') from error
    shape = (spec.batch, spec.height, spec.width, 3)
    _choose_code_folder()
    try:
        compiled = torch.compile(network, dynamic=False)
        with torch.inference_mode():  # compile now, so that errors do not come with the first image
            compiled(torch.zeros(shape, dtype=torch.uint8, device=device))
    except torch.cuda.OutOfMemoryError:
        raise
    except OSError as error:
        raise EngineError(f'torch.compile cannot write its code to {error.filename} ({one_line(error)}): set '
                          'TORCHINDUCTOR_CACHE_DIR to a folder you can write to, or choose backend torch') from error
    except RuntimeError as error:
        raise EngineError(f'torch.compile failed ({one_line(error)}): choose backend torch') from error
    return compiled


def _choose_code_folder() -> None:
    """Have PyTorch keep compiled code in the cache. Its default is a folder in /tmp that another user may create first."""
    if 'TORCHINDUCTOR_CACHE_DIR' in os.environ:
        return
    try:
        folder = str(private_folder('torch-compile'))
    except EnetError as error:
        log.warning('what torch.compile compiles is not cached and must be compiled again at the next start: %s', error)
        folder = mkdtemp(prefix='enet_ros-')
        atexit.register(rmtree, folder, ignore_errors=True)
    os.environ['TORCHINDUCTOR_CACHE_DIR'] = folder

"""The interface of every engine: what it is made for, what it takes and what it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EngineError
from enet_ros.network.architecture import describe_sizes, is_valid_size
from enet_ros.network.model_file import ModelFile

BACKENDS = ('auto', 'tensorrt', 'torch', 'torch-compile', 'openvino')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16', 'int8')
MAXIMUM_THREADS = 1024
PRELU_FORMS = ('layer', 'maximum')


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is made for."""

    backend: str = 'auto'
    """One of `BACKENDS`; auto = the fastest one that is installed and has the hardware it needs."""
    precision: str = 'auto'
    """One of `PRECISIONS`; auto = fp16 on a GPU, bf16 for OpenVINO on a CPU that computes in it, else fp32."""
    width: int = 0
    """Width in pixels of the network's input, a multiple of 8; 0 = the size the model was trained at."""
    height: int = 0
    """Height in pixels of the network's input; 0 = the size the model was trained at."""
    batch: int = 1
    """Number of images in one call."""
    confidence: bool = False
    """Whether to compute the probability of the winning class, too. An engine without it does no work for it."""
    threads: int = 0
    """Number of CPU threads that compute; 0 = all cores the process may use, and more than those count as those. It changes
    the order of sums, and so the label of a rare pixel. Engines on a GPU ignore it."""

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.width, self.height

    def resolve(self, model: ModelFile) -> EngineSpec:
        """Return this spec with the size that `model` was trained at where none is given.

        Raises:
            EngineError: the backend or precision is unknown, the batch is not positive, the threads are not in
                [0, `MAXIMUM_THREADS`], or the network does not take images of this size.

        """
        for name, value, choices in (('backend', self.backend, BACKENDS), ('precision', self.precision, PRECISIONS)):
            if value not in choices:
                raise EngineError(f'{name} "{value}" is unknown: choose from {", ".join(choices)}')
        if self.batch < 1:
            raise EngineError(f'batch is {self.batch}: must be at least 1')
        if not 0 <= self.threads <= MAXIMUM_THREADS:
            raise EngineError(f'threads is {self.threads}: must be in [0, {MAXIMUM_THREADS}], where 0 = all cores')
        width, height = model.info.training_size
        spec = replace(self, width=self.width or width, height=self.height or height)
        smallest = model.info.architecture.smallest_side
        if not is_valid_size(spec.size, smallest):
            raise EngineError(f'network size {spec.width}x{spec.height}: {describe_sizes(spec.size, smallest)}')
        return spec


@dataclass(frozen=True)
class BuildOptions:
    """How TensorRT builds an engine. What the engine computes does not depend on it."""

    workspace: int = 1024
    """Maximum MiB of GPU memory, which on a Jetson is that of the system, for intermediate results within a layer."""
    optimization_level: int = 3
    """TensorRT's `builder_optimization_level`: 0 builds fastest, 5 tries most kernels; TensorRT's own default is 3."""
    prelu: str = 'layer'
    """One of `PRELU_FORMS`: each PReLU as one layer of TensorRT, or as the maximum of x and slope * x, which TensorRT may
    fuse with the layers around it; those with a slope above 1 stay layers."""


@dataclass(frozen=True)
class Prediction:
    """What an engine returns for a batch of images. The next call of the engine may overwrite the arrays."""

    labels: NDArray[np.uint8]
    """N x H x W class ids."""
    confidence: NDArray[np.uint8] | None = None
    """N x H x W probabilities of these classes (softmax), 0 to 255 for 0 to 1; None unless the spec asks for it."""


class Engine(Protocol):
    """A network prepared for one batch shape on one runtime. Use it from one thread at a time."""

    spec: EngineSpec
    """What it was made for. Backend, precision and size are those in use: neither auto nor 0."""
    device: str
    """What it runs on: cpu or cuda."""
    is_new: bool
    """Whether it was built or calibrated now and is not in the cache: check it against PyTorch, then call `store`."""

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images`: N x H x W x 3, uint8, RGB, contiguous, N and size as in `spec`."""

    def store(self) -> None:
        """Put what was built into the cache. Log a warning where the cache cannot be written."""


def is_lack_of_memory(text: str) -> bool:
    """Return whether the text of a runtime's error reports too little memory; runtimes have no common exception for it."""
    return bool(re.search(r"out of memory|bad.?alloc|can.?t allocate|alloc_failed|insufficient memory", text, re.IGNORECASE))

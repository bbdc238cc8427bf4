"""What every engine offers, and the choice among them."""

from __future__ import annotations

import ctypes.util
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError
from enet_ros.network.architecture import SIZE_MULTIPLE
from enet_ros.network.model_file import ModelFile

BACKENDS = ('auto', 'torch', 'openvino')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16')


class EngineError(EnetError):
    """An engine that cannot be made, and why."""


class Engine(Protocol):
    """A network made ready for one image size on one runtime; for one thread at a time."""

    backend: str
    """Name of the runtime, as in the parameter `backend`."""
    device: str
    """What it runs on: cpu or cuda."""
    precision: str
    """Type that it computes in: fp32, fp16 or bf16."""
    size: tuple[int, int]
    """Width and height in pixels of the images it takes."""

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB, of `size`, contiguous).

        The result may be overwritten by the next call.
        """


def create_engine(
    model: ModelFile, size: tuple[int, int], backend: str = 'auto', precision: str = 'auto'
) -> Engine:
    """Make the engine of `backend`, or with auto the fastest that is installed and has the hardware it needs.

    `size` is the network's width and height in pixels. Precision auto is bf16 for OpenVINO
    on a CPU that computes in it, else fp32.

    Raises:
        EngineError: `size` is not made of positive multiples of 8, a name is unknown, the runtime is not installed, or the
            hardware lacks the precision.
        ModelFileError: the weights do not fit their architecture.

    """
    if any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in size):
        near = [max(SIZE_MULTIPLE, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE) for side in size]
        raise EngineError(
            f'network size {size[0]}x{size[1]}: width and height must be positive multiples of {SIZE_MULTIPLE}, '
            f'such as {near[0]}x{near[1]}'
        )
    for name, value, choices in (('backend', backend, BACKENDS), ('precision', precision, PRECISIONS)):
        if value not in choices:
            raise EngineError(f'{name} "{value}" is unknown: choose from {", ".join(choices)}')
    if backend == 'auto':
        backend = _fastest_backend()
    if find_spec(backend) is None:
        raise EngineError(f'backend {backend} is not installed: pip install {backend}, or choose backend auto')
    try:  # imported only when chosen: each runtime is optional, and torch is large
        if backend == 'torch':
            from enet_ros.engines.torch_engine import TorchEngine

            return TorchEngine(model, size, precision)
        from enet_ros.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, size, precision)
    except ImportError as error:
        raise EngineError(f'backend {backend} is installed but broken ({error}): install it again') from error


def _fastest_backend() -> str:
    """Return torch where it can use an NVIDIA GPU, else OpenVINO, else torch on the CPU."""
    installed = [backend for backend in BACKENDS if backend != 'auto' and find_spec(backend)]
    if not installed:
        raise EngineError('no engine is installed: pip install openvino (CPU) or torch (CPU and NVIDIA GPU)')
    # asks the driver before torch, which takes seconds and hundreds of megabytes to import
    if 'torch' in installed and ctypes.util.find_library('cuda'):
        import torch

        if torch.cuda.is_available():
            return 'torch'
    return 'openvino' if 'openvino' in installed else installed[0]

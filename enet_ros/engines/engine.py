"""What every engine offers, and the choice among them."""

from __future__ import annotations

import ctypes
import logging
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError
from enet_ros.network.architecture import SIZE_MULTIPLE
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

BACKENDS = ('auto', 'tensorrt', 'torch', 'torch-compile', 'openvino')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16', 'int8')
# what each backend imports, by the name that pip knows it by, too
_PACKAGES = {
    'tensorrt': ('tensorrt', 'torch'), 'torch': ('torch',), 'torch-compile': ('torch',), 'openvino': ('openvino',),
}


class EngineError(EnetError):
    """An engine that cannot be made, and why."""


class CalibrationError(EngineError):
    """Precision int8 without the images to calibrate it with: for the user to give, whatever other engines there are."""


class Engine(Protocol):
    """A network made ready for one image size on one runtime; for one thread at a time."""

    backend: str
    """Name of the runtime, as in the parameter `backend`."""
    device: str
    """What it runs on: cpu or cuda."""
    precision: str
    """Type that it computes in: fp32, fp16, bf16 or int8."""
    size: tuple[int, int]
    """Width and height in pixels of the images it takes."""
    batch: int
    """How many it takes at a time."""

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB, of `size`, contiguous).

        With a `batch` above 1, N x H x W of N x H x W x 3. The result may be overwritten by the next call.
        """

    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the last image, without copies to and from a GPU."""


def create_engine(
    model: ModelFile, size: tuple[int, int], backend: str = 'auto', precision: str = 'auto', *,
    batch: int = 1, calibration: Path | None = None, force: bool = False,
) -> Engine:
    """Make the engine of `backend`, or with auto the fastest that is installed and has the hardware it needs.

    `size` is the network's width and height in pixels. Precision auto is fp16 on a GPU; on a CPU it is bf16 for OpenVINO
    where the CPU computes in it, else fp32. Where auto's first choice cannot be made, it takes the next and logs why.
    `batch` images are segmented at a time. `calibration` is a folder of images for int8, for tensorrt and openvino; `force`
    builds what is already in the cache, for tensorrt.

    Raises:
        EngineError: `size` is not made of positive multiples of 8, a name is unknown, the runtime is not installed, or the
            hardware lacks the precision.
        ModelFileError: the weights do not fit their architecture.

    """
    smallest = model.info.architecture.smallest_side
    if any(side < smallest or side % SIZE_MULTIPLE for side in size):
        near = [max(smallest, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE) for side in size]
        raise EngineError(
            f'network size {size[0]}x{size[1]}: width and height must be multiples of {SIZE_MULTIPLE} from {smallest} on, '
            f'such as {near[0]}x{near[1]}'
        )
    for name, value, choices in (('backend', backend, BACKENDS), ('precision', precision, PRECISIONS)):
        if value not in choices:
            raise EngineError(f'{name} "{value}" is unknown: choose from {", ".join(choices)}')
    *preferred, last = backends_by_speed() if backend == 'auto' else [backend]
    for choice in preferred:
        try:
            return _make(model, size, choice, precision, batch, calibration, force)
        except CalibrationError:
            raise
        except EngineError as error:
            log.warning('backend %s is passed over: %s', choice, error)
    return _make(model, size, last, precision, batch, calibration, force)


def _make(model: ModelFile, size: tuple[int, int], backend: str, precision: str, batch: int, calibration: Path | None,
          force: bool) -> Engine:
    if missing := missing_packages(backend):
        raise EngineError(f'backend {backend} is not installed: pip install {" ".join(missing)}, or choose backend auto')
    try:  # imported only when chosen: each runtime is optional, and torch is large
        if backend == 'tensorrt':
            from enet_ros.engines.tensorrt_engine import TensorRtEngine

            return TensorRtEngine(model, size, precision, batch=batch, calibration=calibration, force=force)
        if backend in ('torch', 'torch-compile'):
            from enet_ros.engines.torch_engine import TorchEngine

            return TorchEngine(model, size, precision, compiled=backend == 'torch-compile', batch=batch)
        from enet_ros.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, size, precision, batch=batch, calibration=calibration)
    except ImportError as error:
        raise EngineError(f'backend {backend} is installed but broken ({error}): install it again') from error
    # what the runtimes raise, in types of their own or Python's, when driver, device or memory are not what they need
    except (MemoryError, RuntimeError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), '') or type(error).__name__
        raise EngineError(f'backend {backend} fails in {precision} at {size[0]}x{size[1]} ({reason})') from error


def backends_by_speed() -> list[str]:
    """Return what backend auto tries: tensorrt, torch and openvino with an NVIDIA GPU, else openvino or torch.

    Raises:
        EngineError: none is installed.

    """
    installed = [backend for backend in ('tensorrt', 'torch', 'openvino') if not missing_packages(backend)]
    if not installed:
        raise EngineError('no engine is installed: pip install openvino (CPU) or torch (CPU and NVIDIA GPU)')
    if has_nvidia_gpu():
        return installed
    return ['openvino' if 'openvino' in installed else 'torch']


@cache  # its warning once is enough
def has_nvidia_gpu() -> bool:
    """Return whether PyTorch is installed and can use an NVIDIA GPU; where there is one that it cannot use, log why."""
    try:  # the driver first: PyTorch takes seconds and hundreds of megabytes to import
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    try:
        import torch

        if torch.cuda.is_available():
            return True
        reason = 'this PyTorch is built without CUDA' if torch.version.cuda is None else 'PyTorch finds none that it can use'
    except (ImportError, OSError, ValueError, RuntimeError) as error:  # a library of CUDA that is missing or another version
        if isinstance(error, ModuleNotFoundError) and error.name == 'torch':
            reason = 'PyTorch is not installed'
        else:
            reason = f'PyTorch cannot be imported ({next(iter(str(error).splitlines()), "")})'
    log.warning('the NVIDIA GPU is not used: %s; install a PyTorch with CUDA for this machine', reason)
    return False


def is_lack_of_memory(text: str) -> bool:
    """Return whether the text of a runtime's error says that memory is lacking; runtimes have no common type for it."""
    return bool(re.search(r"out of memory|bad.?alloc|can.?t allocate|alloc_failed|insufficient memory", text, re.IGNORECASE))


def missing_packages(backend: str) -> list[str]:
    """Return the packages that `backend`, one of `BACKENDS` but auto, needs and that are not installed."""
    return [package for package in _PACKAGES[backend] if find_spec(package) is None]

"""Create the engine for a spec: choose a backend, import its runtime, check what was built against PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import Engine, EngineSpec
from enet_ros.errors import CalibrationError, EngineError, one_line
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

# what each backend imports; pip uses the same names
_PACKAGES = {
    'tensorrt': ('tensorrt', 'torch'), 'torch': ('torch',), 'torch-compile': ('torch',), 'openvino': ('openvino',),
}


def create_engine(
    model: ModelFile, spec: EngineSpec | None = None, *, calibration: Sequence[NDArray[np.uint8]] = (), rebuild: bool = False
) -> Engine:
    """Create the engine for `spec` (default: `EngineSpec()`), from the cache where possible.

    With backend auto, a backend that fails is logged and the next one is used. Precision int8 needs `calibration` images
    (H x W x 3, uint8, RGB, of the network's size) unless the cache holds what was made from earlier ones. `rebuild` ignores
    the cache. A new engine is checked against PyTorch before it is stored or used.

    Raises:
        EngineError: the spec is invalid, the runtime is not installed, the hardware lacks the precision, or the engine does
            not give PyTorch's labels.
        ModelFileError: the weights do not fit their architecture.

    """
    spec = (spec or EngineSpec()).resolve(model)
    *preferred, last = backends_by_speed() if spec.backend == 'auto' else [spec.backend]
    for backend in preferred:
        try:
            return _create(model, replace(spec, backend=backend), calibration, rebuild)
        except CalibrationError:
            raise
        except EngineError as error:
            log.warning('backend %s is not used: %s', backend, error)
    return _create(model, replace(spec, backend=last), calibration, rebuild)


def _create(model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]], rebuild: bool) -> Engine:
    engine = _make(model, spec, calibration, rebuild)
    if engine.is_new:
        _check(engine, model)  # a bad engine never reaches the cache
        engine.store()
    return engine


def _make(model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]], rebuild: bool) -> Engine:
    backend = spec.backend
    if missing := missing_packages(backend):
        raise EngineError(f'backend {backend} is not installed: pip install {" ".join(missing)}, or choose backend auto')
    try:  # imported only when chosen: each runtime is optional, and PyTorch is large
        if backend == 'tensorrt':
            from enet_ros.engines.tensorrt.engine import TensorRtEngine

            return TensorRtEngine(model, spec, calibration, rebuild)
        if backend in ('torch', 'torch-compile'):
            from enet_ros.engines.torch_engine import TorchEngine

            return TorchEngine(model, spec)
        from enet_ros.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, spec, calibration, rebuild)
    except ImportError as error:
        raise EngineError(f'backend {backend} is installed but broken ({one_line(error)}): install it again') from error
    # runtimes raise these when driver, device or memory do not meet their needs
    except (MemoryError, RuntimeError, TypeError) as error:
        raise EngineError(
            f'backend {backend} fails in {spec.precision} at {spec.width}x{spec.height} ({one_line(error)})'
        ) from error


def _check(engine: Engine, model: ModelFile) -> None:
    if missing_packages('torch'):
        log.warning('the engine is not checked against PyTorch, which is not installed: measure it with "enet evaluate"')
        return
    from enet_ros.engines.verification import verify

    share = verify(engine, model)
    log.info('checked: %.2f %% of the pixels of the test images have the same label as in PyTorch', 100 * share)


def backends_by_speed() -> list[str]:
    """Return the backends that auto tries: tensorrt, torch, openvino with an NVIDIA GPU, else openvino or torch.

    Raises:
        EngineError: none is installed.

    """
    installed = [backend for backend in ('tensorrt', 'torch', 'openvino') if not missing_packages(backend)]
    if not installed:
        raise EngineError('no engine is installed: pip install openvino (CPU) or torch (CPU and NVIDIA GPU)')
    if has_nvidia_gpu():
        return installed
    return ['openvino' if 'openvino' in installed else 'torch']


def missing_packages(backend: str) -> list[str]:
    """Return the packages that `backend` (any of `BACKENDS` except auto) needs and that are not installed."""
    return [package for package in _PACKAGES[backend] if find_spec(package) is None]

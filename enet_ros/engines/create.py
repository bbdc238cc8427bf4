"""Create the engine for a spec: choose a backend, import its runtime, check what was built against PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import BuildOptions, Engine, EngineSpec
from enet_ros.errors import CalibrationError, EngineError, one_line
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

_PACKAGES = {
    'tensorrt': ('tensorrt', 'torch'), 'torch': ('torch',), 'torch-compile': ('torch',), 'openvino': ('openvino',),
}
"""What each backend imports; pip uses the same names."""


def create_engine(
    model: ModelFile, spec: EngineSpec | None = None, *, calibration: Sequence[NDArray[np.uint8]] = (),
    rebuild: bool = False, options: BuildOptions | None = None,
) -> Engine:
    """Create the engine for `spec` (default: `EngineSpec()`), from the cache where possible.

    A new engine is checked against PyTorch before it is stored or used.

    Args:
        model: The model to run.
        spec: With backend auto, a backend that fails is logged and the next one is used.
        calibration: Images (H x W x 3, uint8, RGB, of the network's size) for precision int8. It needs them unless the cache
            holds a graph that was quantised before. With them the graph is quantised again.
        rebuild: Build the TensorRT engine even if the cache holds it. Other backends ignore this.
        options: How a TensorRT engine is built (default: `BuildOptions()`). Other backends ignore this.

    Raises:
        EngineError: the spec is invalid, the runtime is not installed, the hardware lacks the precision, or the engine does
            not give PyTorch's labels.
        CalibrationError: precision int8 needs images.
        ModelFileError: the weights do not fit their architecture.

    """
    spec = (spec or EngineSpec()).resolve(model)
    backends = backends_by_speed() if spec.backend == 'auto' else [spec.backend]
    return first_working(
        backends, lambda backend: _create(model, replace(spec, backend=backend), calibration, rebuild, options)
    )


def first_working(backends: Sequence[str], create: Callable[[str], Engine]) -> Engine:
    """Return what `create` returns for the first of `backends` for which it does not raise EngineError.

    Raises:
        EngineError: that of the last backend.
        CalibrationError: at once. The user must provide images; another backend would hide that.

    """
    *preferred, last = backends
    for backend in preferred:
        try:
            return create(backend)
        except CalibrationError:
            raise
        except EngineError as error:
            log.warning('backend %s is not used: %s', backend, error)
    return create(last)


def _create(
    model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]], rebuild: bool, options: BuildOptions | None
) -> Engine:
    backend = spec.backend
    if missing := missing_packages(backend):
        raise EngineError(f'backend {backend} is not installed: pip install {" ".join(missing)}, or choose backend auto')
    try:
        engine = _make(model, spec, calibration, rebuild, options)
        check_and_store(engine, model)
        return engine
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C while a runtime initialises
            raise KeyboardInterrupt from error
        raise EngineError(f'backend {backend} is installed but broken ({one_line(error)}): install it again') from error
    # runtimes raise these when driver, device or memory do not meet their needs
    except (MemoryError, RuntimeError, TypeError) as error:
        raise EngineError(
            f'backend {backend} fails in {spec.precision} at {spec.width}x{spec.height} ({one_line(error)}): '
            'choose another precision, size or backend'
        ) from error


def _make(
    model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]], rebuild: bool, options: BuildOptions | None
) -> Engine:
    # imported only when chosen: each runtime is optional, and PyTorch is large
    if spec.backend == 'tensorrt':
        from enet_ros.engines.tensorrt.engine import TensorRtEngine

        return TensorRtEngine(model, spec, calibration, rebuild, options=options)
    if spec.backend in ('torch', 'torch-compile'):
        from enet_ros.engines.torch_engine import TorchEngine

        return TorchEngine(model, spec)
    from enet_ros.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(model, spec, calibration)


def check_and_store(engine: Engine, model: ModelFile) -> None:
    """Check a new engine against PyTorch, then put it into the cache. A bad engine never gets there.

    Raises:
        EngineError: the engine does not give PyTorch's labels.

    """
    if not engine.is_new:
        return
    try:
        from enet_ros.engines.verification import verify
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C while a runtime initialises
            raise KeyboardInterrupt from error
        log.warning('the engine is not checked, because PyTorch cannot be imported (%s): measure it with "enet evaluate"',
                    one_line(error))
    else:
        share = verify(engine, model)
        log.info('checked: %.2f %% of the pixels of the test images have the same label as in PyTorch', 100 * share)
    engine.store()


def backends_by_speed() -> list[str]:
    """Return the backends that auto tries on this machine, the fastest first.

    Raises:
        EngineError: none is installed.

    """
    installed = [backend for backend in ('tensorrt', 'torch', 'openvino') if not missing_packages(backend)]
    if not installed:
        raise EngineError('no engine is installed: pip install openvino (CPU) or torch (CPU and NVIDIA GPU)')
    # on a CPU only the last two run, openvino faster than torch
    return installed if has_nvidia_gpu() else installed[-1:]


def missing_packages(backend: str) -> list[str]:
    """Return the packages that `backend` (any of `BACKENDS` except auto) needs and that are not installed."""
    return [package for package in _PACKAGES[backend] if find_spec(package) is None]

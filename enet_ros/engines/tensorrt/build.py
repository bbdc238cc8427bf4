"""Build a TensorRT engine."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorrt as trt

from enet_ros.engines.base import BuildOptions, EngineSpec, is_lack_of_memory
from enet_ros.engines.tensorrt.log import tensorrt_log
from enet_ros.engines.tensorrt.network import define_network
from enet_ros.engines.tensorrt.timing import timing_cache
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 5.0
"""Seconds between progress lines. Building takes from seconds to many minutes."""
_FLAGS: dict[str, tuple[str, ...]] = {'fp32': (), 'fp16': ('FP16',), 'int8': ('FP16', 'INT8')}
"""Builder flags of each precision, for a builder that chooses types."""


def build(
    model: ModelFile, spec: EngineSpec, graph: bytes | None = None, options: BuildOptions | None = None, *,
    way: str | None = None, device: str = '', progress_interval: float = PROGRESS_INTERVAL,
) -> bytes:
    """Build the engine of `model` for a resolved `spec`. `graph` and `way` are those of `define_network`.

    `device` names the GPU that kernels are timed on.

    Raises:
        EngineError: TensorRT cannot build it.
        KeyboardInterrupt: SIGINT arrived during the build.
        MemoryError: there is not enough GPU memory to build it.

    """
    logger = tensorrt_log()
    builder = trt.Builder(logger)
    # The network's own types decide where TensorRT supports that. The quantised graph is in float32 outside int8: a builder
    # that chooses types (TensorRT 10 and older) may use half there.
    creation = trt.NetworkDefinitionCreationFlag
    names = ('EXPLICIT_BATCH',) if spec.precision == 'int8' else ('EXPLICIT_BATCH', 'STRONGLY_TYPED')
    flags = (1 << int(getattr(creation, name)) for name in names if hasattr(creation, name))
    network = builder.create_network(sum(flags))
    options = options or BuildOptions()
    define_network(network, model, spec, graph, way=way, prelu=options.prelu)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    config.builder_optimization_level = options.optimization_level
    if not hasattr(creation, 'STRONGLY_TYPED') or not network.get_flag(creation.STRONGLY_TYPED):
        for name in _FLAGS[spec.precision]:
            if hasattr(trt.BuilderFlag, name):
                config.set_flag(getattr(trt.BuilderFlag, name))
    if spec.precision == 'fp32' and hasattr(trt.BuilderFlag, 'TF32'):
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default; fp32 means float32
    log.info('building for TensorRT %s, %dx%d in %s: %d layers, %s', trt.__version__, *spec.size, spec.precision,
             network.num_layers, options)
    start = time.monotonic()
    logger.error = ''
    with _noted_interrupts() as interrupted, timing_cache(config, device):
        if hasattr(trt, 'IProgressMonitor'):  # not in TensorRT 8.6
            config.progress_monitor = _monitor(progress_interval, interrupted)
        engine = builder.build_serialized_network(network, config)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if engine is None:
        if is_lack_of_memory(logger.error):
            raise MemoryError(logger.error)
        raise EngineError(f'TensorRT {trt.__version__} cannot build the network ({logger.reason}): choose another precision '
                          'or backend')
    log.info('built in %.0f s', time.monotonic() - start)
    return bytes(engine)


@contextmanager
def _noted_interrupts() -> Iterator[threading.Event]:
    """Yield an event that SIGINT sets. A KeyboardInterrupt would be lost in TensorRT's callbacks into Python.

    Nothing changes where SIGINT does not raise KeyboardInterrupt, as in the node, which stops after the build.
    """
    noted = threading.Event()
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not raises or threading.current_thread() is not threading.main_thread():  # other threads may not set handlers
        yield noted
        return

    def note(*_: object) -> None:
        noted.set()
        log.warning('interrupted: stopping the build')

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _monitor(interval: float, interrupted: threading.Event) -> Any:  # noqa: ANN401 - TensorRT's
    """Return what logs the builder's progress every `interval` seconds, and stops it when `interrupted` is set."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._next = time.monotonic() + interval

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() > self._next:
                self._next = time.monotonic() + interval
                log.info('building: %s, step %d of %d', phase_name, step + 1, self._steps[phase_name])
            return not interrupted.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()

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

from enet_ros.engines.base import EngineSpec, is_lack_of_memory
from enet_ros.engines.tensorrt.log import tensorrt_log
from enet_ros.engines.tensorrt.network import define_network
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

_PROGRESS_INTERVAL = 5.0
"""Seconds between lines of progress: building takes from seconds to many minutes."""


@contextmanager
def _noting_interrupts() -> Iterator[threading.Event]:
    """Yield what SIGINT sets instead of raising KeyboardInterrupt, which would be lost in TensorRT's calls of Python."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where Python handles signals
        yield noted
        return

    def note(*_: object) -> None:
        noted.set()
        log.warning('interrupted: TensorRT ends its build first')

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _progress() -> Any:  # noqa: ANN401 - TensorRT's
    """Return what logs how far the builder is."""

    class Progress(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._next = time.monotonic() + _PROGRESS_INTERVAL

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() > self._next:
                self._next = time.monotonic() + _PROGRESS_INTERVAL
                log.info('building: %s, step %d of %d', phase_name, step + 1, self._steps[phase_name])
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Progress()


def build(model: ModelFile, spec: EngineSpec, graph: bytes | None = None) -> bytes:
    """Build the engine of `model` for `spec`. `graph` is the quantised ONNX graph of precision int8.

    Raises:
        EngineError: TensorRT cannot build it; says why.
        KeyboardInterrupt: SIGINT came while it built.
        MemoryError: the GPU has no room for building it.

    """
    logger = tensorrt_log()
    builder = trt.Builder(logger)
    # The network's own types decide, where TensorRT can do so. Beside int8 the quantised graph is in float32: there a
    # builder that still chooses types, that of TensorRT 10 and older, may take half instead.
    creation = trt.NetworkDefinitionCreationFlag
    names = ('EXPLICIT_BATCH',) if spec.precision == 'int8' else ('EXPLICIT_BATCH', 'STRONGLY_TYPED')
    flags = (1 << int(getattr(creation, name)) for name in names if hasattr(creation, name))
    network = builder.create_network(sum(flags))
    define_network(network, model, spec, graph)
    config = builder.create_builder_config()
    if not hasattr(creation, 'STRONGLY_TYPED') or not network.get_flag(creation.STRONGLY_TYPED):
        for name in {'fp32': (), 'fp16': ('FP16',), 'int8': ('FP16', 'INT8')}[spec.precision]:
            if hasattr(trt.BuilderFlag, name):
                config.set_flag(getattr(trt.BuilderFlag, name))
    if spec.precision == 'fp32' and hasattr(trt.BuilderFlag, 'TF32'):
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default; fp32 means float32
    log.info('building for TensorRT %s, %dx%d in %s: %d layers', trt.__version__, *spec.size, spec.precision,
             network.num_layers)
    start = time.monotonic()
    logger.error = ''
    with _noting_interrupts() as interrupted:
        if hasattr(trt, 'IProgressMonitor'):  # not in every 8.6
            config.progress_monitor = monitor = _progress()  # noqa: F841 - held, for TensorRT only borrows it
        engine = builder.build_serialized_network(network, config)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if engine is None:
        if is_lack_of_memory(logger.error):
            raise MemoryError(logger.error)
        raise EngineError(f'TensorRT {trt.__version__} cannot build the network ({logger.error or "it gives no reason"})')
    log.info('built in %.0f s', time.monotonic() - start)
    return bytes(engine)

"""Run a TensorRT engine."""

from __future__ import annotations

from collections.abc import Sequence

import tensorrt as trt

from enet_ros.engines.base import is_lack_of_memory
from enet_ros.engines.onnx_graph import OUTPUTS
from enet_ros.engines.tensorrt.log import tensorrt_log
from enet_ros.errors import EngineError


class Runner:
    """An engine in GPU memory, with the context it runs in."""

    def __init__(self, engine: bytes) -> None:
        """Load a serialised engine.

        Raises:
            EngineError: TensorRT rejects it.
            MemoryError: there is not enough GPU memory.

        """
        logger = tensorrt_log()
        logger.error = ''
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            if is_lack_of_memory(logger.error):
                raise MemoryError(logger.error)
            raise EngineError(f'TensorRT {trt.__version__} cannot load it ({logger.reason})')
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MemoryError(logger.error)

    def enqueue(self, addresses: Sequence[int], stream: int) -> None:
        """Queue one run on a CUDA stream. `addresses` are in GPU memory: the images, then each output in order.

        Raises:
            EngineError: TensorRT refuses to run.

        """
        for name, address in zip(('image', *OUTPUTS), addresses):
            self._context.set_tensor_address(name, address)
        if not self._context.execute_async_v3(stream):
            raise EngineError(f'TensorRT {trt.__version__} cannot run it ({tensorrt_log().reason})')

    def profile(self, addresses: Sequence[int], stream: int, runs: int) -> dict[str, float]:
        """Return the mean milliseconds of each layer of the built engine over `runs` runs, in their order.

        Raises:
            EngineError: TensorRT refuses to run.

        """
        self.enqueue(addresses, stream)  # the first run loads kernels
        times = _LayerTimes()
        self._context.profiler = times
        for _ in range(runs):
            self.enqueue(addresses, stream)  # waits for the end while there is a profiler
        return {layer: total / runs for layer, total in times.total.items()}


class _LayerTimes(trt.IProfiler):
    """Adds up the milliseconds that TensorRT reports for each layer."""

    def __init__(self) -> None:
        trt.IProfiler.__init__(self)
        self.total: dict[str, float] = {}

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        self.total[layer_name] = self.total.get(layer_name, 0.0) + ms

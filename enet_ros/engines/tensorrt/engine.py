"""ENet in TensorRT, on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorrt as trt
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros.engines.base import EngineSpec, Prediction
from enet_ros.engines.cache import EngineKey, load_engine, store_engine
from enet_ros.engines.cuda_graph import CudaGraph, gpu_memory
from enet_ros.engines.int8 import load_quantized_graph, quantize, store_quantized_graph
from enet_ros.engines.tensorrt.build import build
from enet_ros.engines.tensorrt.network import builder_name, export
from enet_ros.engines.tensorrt.runner import Runner
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile
from enet_ros.version import __version__

log = logging.getLogger(__name__)

NETWORK_VERSION = '2'
"""Increase it when the same weights lead to another TensorRT network."""
_CAPABILITY = {'fp32': (0, 0), 'fp16': (5, 3), 'int8': (6, 1)}
"""The lowest compute capability of GPUs that compute in a precision."""
OLDEST = (8, 6)
"""The oldest supported TensorRT: the first that takes bytes as input and casts them."""


class TensorRtEngine:
    """An engine for one GPU, batch shape and precision, from the cache or built. Normalisation and argmax are part of it."""

    device = 'cuda'

    def __init__(
        self, model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]] = (), rebuild: bool = False
    ) -> None:
        """Load or build the engine of `model` for a resolved `spec`. Precision auto is fp16 where the GPU has it.

        Building can take minutes. Precision int8 needs `calibration` images (H x W x 3, uint8, RGB, of the network's size)
        the first time. With them it is calibrated again. `rebuild` builds the engine even if the cache holds it.

        Raises:
            EngineError: there is no GPU, it lacks the precision or the memory, or the engine cannot be built.
            CalibrationError: precision int8 has no cached graph and no images.
            ModelFileError: the weights do not fit their architecture.

        """
        check_usable()
        self.spec = replace(
            spec, backend='tensorrt', precision=choose_precision(spec.precision, torch.cuda.get_device_capability())
        )
        self._model = model
        self._calibrated = self._built = None
        graph = None
        if self.spec.precision == 'int8':
            if spec.batch > 1:
                raise EngineError(f'backend tensorrt in int8 takes one image at a time, not {spec.batch}: choose fp16')
            graph = None if calibration else load_quantized_graph(model, self.spec)
            if graph is None:
                exact = export(model, replace(self.spec, precision='fp32', confidence=True))
                graph = self._calibrated = quantize(exact, model, self.spec, calibration)
        self._key = engine_key(model, self.spec, graph)
        with gpu_memory(self.spec):
            if rebuild or not self._start_cached():
                self._built = build(model, self.spec, graph)
                self._start(self._built)
        self.is_new = self._built is not None or self._calibrated is not None

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the labels of `images` (N x H x W x 3, uint8, RGB). The next call overwrites them."""
        return self.graph.infer(images)

    def store(self) -> None:
        """Put what was built, and the quantised graph it was built from, into the cache."""
        if self._calibrated is not None:
            store_quantized_graph(self._calibrated, self._model, self.spec)
        if self._built is not None and (path := store_engine(self._key, self._built)):
            log.info('cached in %s', path)

    def _start_cached(self) -> bool:
        """Return whether the cache has this engine, which then runs."""
        cached = load_engine(self._key)
        if cached is None:
            return False
        try:
            self._start(cached)
        except EngineError as error:  # TensorRT checks more than its version
            log.info('building an engine: %s cannot be used: %s', self._key.path, error)
            return False
        return True

    def _start(self, engine: bytes) -> None:
        runner = Runner(engine)

        def compute(images: Tensor, results: tuple[Tensor, ...]) -> None:
            addresses = [images.data_ptr(), *(result.data_ptr() for result in results)]
            runner.enqueue(addresses, torch.cuda.current_stream().cuda_stream)

        self.graph = CudaGraph(self.spec, compute)


def check_usable() -> None:
    """Check that TensorRT can run on this machine.

    Raises:
        EngineError: TensorRT is too old, or there is no usable GPU.

    """
    if tuple(map(int, trt.__version__.split('.')[:2])) < OLDEST:
        raise EngineError(f'TensorRT {trt.__version__} is too old: install {".".join(map(str, OLDEST))} or newer')
    if not torch.cuda.is_available():
        reason = 'this PyTorch is built without CUDA' if torch.version.cuda is None else 'PyTorch finds no usable GPU'
        raise EngineError(f'backend tensorrt needs an NVIDIA GPU and a PyTorch with CUDA, but {reason}: '
                          'install them, or choose backend auto')


def choose_precision(precision: str, capability: tuple[int, int]) -> str:
    """Return the precision to build for a GPU's compute capability. Auto is fp16 where the GPU has it.

    Raises:
        EngineError: the GPU or TensorRT lacks `precision`.

    """
    has = [name for name, first in _CAPABILITY.items() if capability >= first]
    if precision == 'auto':
        return 'fp16' if 'fp16' in has else 'fp32'
    if precision not in has:
        who = 'this GPU' if precision in _CAPABILITY else 'backend tensorrt'
        raise EngineError(f'{who} does not compute in {precision}: choose {", ".join(has)} or auto')
    return precision


def engine_key(model: ModelFile, spec: EngineSpec, graph: bytes | None = None) -> EngineKey:
    """Return what the engine of `model` is cached under on this machine. `graph` is the quantised one of precision int8."""
    quantized = f'+{hashlib.sha256(graph).hexdigest()}' if graph else ''
    major, minor = torch.cuda.get_device_capability()
    size = f'{spec.width}x{spec.height}' + (f'x{spec.batch}' if spec.batch > 1 else '')
    return EngineKey(
        weights=model.sha256 + quantized, size=size, precision=spec.precision,
        outputs='labels, confidence' if spec.confidence else 'labels', builder=builder_name(spec.precision),
        tensorrt=trt.__version__, gpu=f'{torch.cuda.get_device_name()} {major}.{minor}',
        package=f'{__version__}-n{NETWORK_VERSION}',
    )

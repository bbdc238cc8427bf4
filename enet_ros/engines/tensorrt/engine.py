"""ENet in TensorRT, on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from enet_ros.engines.base import BuildOptions, EngineSpec, Prediction
from enet_ros.engines.cache import EngineKey, load_engine, store_engine
from enet_ros.engines.cuda_graph import gpu_memory
from enet_ros.engines.int8 import load_quantized_graph, quantize, store_quantized_graph
from enet_ros.engines.tensorrt.gpu import Gpu, find_gpu
from enet_ros.engines.tensorrt.network import builder_name, export
from enet_ros.errors import EngineError
from enet_ros.network.model_file import ModelFile
from enet_ros.version import __version__

log = logging.getLogger(__name__)

NETWORK_VERSION = '3'
"""Increase it when the same weights lead to another TensorRT network."""


class TensorRtEngine:
    """An engine for one GPU, batch shape and precision, from the cache or built. Normalisation and argmax are part of it."""

    device = 'cuda'

    def __init__(
        self, model: ModelFile, spec: EngineSpec, calibration: Sequence[NDArray[np.uint8]] = (), rebuild: bool = False,
        *, options: BuildOptions | None = None, gpu: Gpu | None = None,
    ) -> None:
        """Load or build the engine of `model` for a resolved `spec`. Precision auto is fp16 where the GPU has it.

        Building can take minutes. Precision int8 needs `calibration` images (H x W x 3, uint8, RGB, of the network's size)
        the first time. With them it is calibrated again. `rebuild` builds the engine even if the cache holds it, and
        `options` say how it is built. `gpu` is the current one by default.

        Raises:
            EngineError: there is no GPU, it lacks the precision or the memory, or the engine cannot be built.
            CalibrationError: precision int8 has no cached graph and no images.
            ModelFileError: the weights do not fit their architecture.

        """
        self._gpu = gpu or find_gpu()
        options = options or BuildOptions()
        self.spec = replace(spec, backend='tensorrt', precision=self._gpu.choose_precision(spec.precision))
        self._model = model
        self._calibrated = self._built = None
        graph = None
        if self.spec.precision == 'int8':
            if spec.batch > 1:
                raise EngineError(f'backend tensorrt in int8 takes one image at a time, not {spec.batch}: choose fp16')
            graph = None if calibration else load_quantized_graph(model, self.spec)
            if graph is None:
                exact = export(model, replace(self.spec, precision='fp32', confidence=True), options.prelu)
                graph = self._calibrated = quantize(exact, model, self.spec, calibration)
        self._key = engine_key(model, self.spec, self._gpu, graph)
        with gpu_memory(self.spec):
            if rebuild or not self._start_cached():
                self._built = self._gpu.build(model, self.spec, graph, options)
                self.graph = self._gpu.start(self._built, self.spec)
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
            self.graph = self._gpu.start(cached, self.spec)
        except EngineError as error:  # TensorRT checks more than its version
            log.info('building an engine: %s cannot be used: %s', self._key.path, error)
            return False
        return True


def engine_key(model: ModelFile, spec: EngineSpec, gpu: Gpu, graph: bytes | None = None) -> EngineKey:
    """Return the key of the engine of `model` in the cache. `graph` is the quantised one of precision int8."""
    quantized = f'+{hashlib.sha256(graph).hexdigest()}' if graph else ''
    major, minor = gpu.capability
    size = f'{spec.width}x{spec.height}' + (f'x{spec.batch}' if spec.batch > 1 else '')
    return EngineKey(
        weights=model.sha256 + quantized, size=size, precision=spec.precision,
        outputs='labels, confidence' if spec.confidence else 'labels', builder=builder_name(spec.precision),
        tensorrt=trt.__version__, gpu=f'{gpu.name} {major}.{minor}', package=f'{__version__}-n{NETWORK_VERSION}',
    )

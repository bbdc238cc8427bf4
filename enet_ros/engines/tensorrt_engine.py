"""ENet in TensorRT, on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import tensorrt as trt
import torch
from numpy.typing import NDArray
from torch import Tensor

from enet_ros import __version__
from enet_ros.engines.cache import EngineKey, load_engine, store_engine
from enet_ros.engines.calibration import quantized_graph
from enet_ros.engines.cuda_frames import CudaFrames, gpu_memory
from enet_ros.engines.engine import EngineError
from enet_ros.engines.tensorrt_build import build
from enet_ros.engines.tensorrt_network import builder_name, export, traceable
from enet_ros.engines.tensorrt_runner import Runner
from enet_ros.engines.verification import verify
from enet_ros.network.model_file import ModelFile

log = logging.getLogger(__name__)

NETWORK_VERSION = '1'
"""Raised whenever the same weights come to another TensorRT network."""
_CAPABILITY = {'fp32': (0, 0), 'fp16': (5, 3), 'int8': (6, 1)}
"""The first compute capability whose GPUs compute in a precision."""
OLDEST = (8, 6)
"""Version of TensorRT: what takes bytes for an input and casts them."""


class TensorRtEngine:
    """An engine for one GPU, network size and precision, from the cache or built; bytes in and label ids out are in it."""

    backend = 'tensorrt'
    device = 'cuda'

    def __init__(self, model: ModelFile, size: tuple[int, int], precision: str, *,
                 batch: int = 1, calibration: Path | None = None, force: bool = False) -> None:
        """Make `model` ready for images of `size` (width, height); precision auto is fp16.

        An engine that is not in the cache is built, which takes up to some minutes, held against PyTorch and then cached.
        Precision int8 needs images to calibrate with, in `calibration`, the first time. `force` builds in any case.

        Raises:
            EngineError: there is no GPU, it lacks the precision or the memory, or the engine cannot be built or gives other
                labels than PyTorch.
            EnetError: the calibration images cannot be read.
            ModelFileError: the weights do not fit their architecture.

        """
        check_usable()
        self.precision = choose_precision(precision, torch.cuda.get_device_capability())
        self.size, self.batch = size, batch
        graph = None
        if self.precision == 'int8':
            if batch > 1:
                raise EngineError(f'backend tensorrt in int8 takes one image at a time, not {batch}: choose fp16')
            graph = quantized_graph(
                model, size, self.backend, calibration, lambda: export(*traceable(model, size, 'fp32'))
            )
        key = engine_key(model, size, self.precision, graph, batch)
        with gpu_memory(self.backend, size):
            if force or not self._start_cached(key):
                self._build(model, graph, key)

    def _start_cached(self, key: EngineKey) -> bool:
        """Return whether there is an engine of `key` in the cache, which then runs."""
        cached = load_engine(key)
        if cached is None:
            return False
        try:
            self._start(cached)
        except EngineError as error:  # though the file is whole: TensorRT's own checks are finer than its version
            log.info('building an engine: %s is no use: %s', key.path, error)
            return False
        return True

    def _build(self, model: ModelFile, graph: Path | None, key: EngineKey) -> None:
        built = build(model, self.size, self.precision, graph, self.batch)
        self._start(built)
        share = verify(self, model)
        log.info('verified: %.2f %% of the pixels of the check images get the label that PyTorch gives', 100 * share)
        if stored := store_engine(key, built):
            log.info('cached in %s', stored)

    def _start(self, engine: bytes) -> None:
        runner = Runner(engine)

        def compute(image: Tensor, labels: Tensor) -> None:
            runner.enqueue(image.data_ptr(), labels.data_ptr(), torch.cuda.current_stream().cuda_stream)

        self._frames = CudaFrames((self.batch, self.size[1], self.size[0], 3), compute)

    def infer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label ids (H x W, uint8) of `image` (H x W x 3, uint8, RGB), or of a batch of them.

        The next call overwrites them.
        """
        return self._frames.run(image)

    def network_times(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the last image, without copies to and from the GPU."""
        return self._frames.network_times(runs)


def check_usable() -> None:
    """Refuse a machine on which TensorRT cannot run; raises EngineError."""
    if tuple(map(int, trt.__version__.split('.')[:2])) < OLDEST:
        raise EngineError(f'TensorRT {trt.__version__} is too old: install {".".join(map(str, OLDEST))} or newer')
    if not torch.cuda.is_available():
        reason = 'this PyTorch is built without CUDA' if torch.version.cuda is None else 'PyTorch finds none'
        raise EngineError(f'backend tensorrt needs an NVIDIA GPU and {reason}: install both, or choose backend auto')


def choose_precision(precision: str, capability: tuple[int, int]) -> str:
    """Return the precision to build, of a GPU's compute capability; auto is fp16 where the GPU has it.

    Raises:
        EngineError: the GPU or this engine lacks `precision`.

    """
    has = [name for name, first in _CAPABILITY.items() if capability >= first]
    if precision == 'auto':
        return 'fp16' if 'fp16' in has else 'fp32'
    if precision not in has:
        who = 'this GPU' if precision in _CAPABILITY else 'backend tensorrt'
        raise EngineError(f'{who} does not compute in {precision}: choose {", ".join(has)} or auto')
    return precision


def engine_key(model: ModelFile, size: tuple[int, int], precision: str, graph: Path | None,
               batch: int = 1) -> EngineKey:
    """Return what the engine of `model` is cached under on this machine; `graph` is the quantised one of precision int8."""
    quantized = f'+{hashlib.sha256(graph.read_bytes()).hexdigest()}' if graph else ''
    major, minor = torch.cuda.get_device_capability()
    images = f'x{batch}' if batch > 1 else ''
    return EngineKey(
        weights=model.sha256 + quantized, size=f'{size[0]}x{size[1]}{images}', precision=precision,
        builder=builder_name(precision), tensorrt=trt.__version__,
        gpu=f'{torch.cuda.get_device_name()} {major}.{minor}', package=f'{__version__}-n{NETWORK_VERSION}',
    )

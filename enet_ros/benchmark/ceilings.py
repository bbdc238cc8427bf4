"""The limits of this machine: the highest rate of arithmetic and of memory traffic that a network could reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from enet_ros.network.inference import DTYPES

_SECONDS = 1.0
_CHANNELS = 256
_COPY_BYTES = 2**28
"""Far more than fits into any cache."""


@dataclass(frozen=True)
class Ceilings:
    """The highest rates measured on a device."""

    device: str
    """cpu or cuda."""
    flops: dict[str, float]
    """Floating-point operations per second of a large 3x3 convolution, by precision; a multiply-add counts as two."""
    bytes: float
    """Bytes per second of a large copy in the memory of the device, reads and writes together."""


@torch.inference_mode()
def measure_ceilings(device: str) -> Ceilings:
    """Measure `device` (cpu or cuda) with PyTorch's convolution and copy. Takes some seconds."""
    images, side = (16, 128) if device == 'cuda' else (1, 64)
    flops = {}
    for precision, dtype in DTYPES.items():
        if precision == 'fp16' and device == 'cpu':  # no engine computes in it on a CPU
            continue
        features, weights = (
            torch.randn(shape).to(device, dtype).to(memory_format=torch.channels_last)
            for shape in ((images, _CHANNELS, side, side), (_CHANNELS, _CHANNELS, 3, 3))
        )
        operations = 2 * 9 * _CHANNELS**2 * images * side**2
        flops[precision] = operations / _shortest(partial(functional.conv2d, features, weights, padding=1), device)
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Ceilings(device, flops, 2 * _COPY_BYTES / _shortest(partial(target.copy_, source), device))


def _shortest(work: Callable[[], object], device: str) -> float:
    """Return the duration of the fastest of many runs of `work`, in seconds."""
    shortest, end = float('inf'), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        if device == 'cuda':
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == 'cuda':
            torch.cuda.synchronize()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest

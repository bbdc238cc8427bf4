"""What the benchmark measures, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enet_ros.engines.base import EngineSpec

EAGER = 'torch-eager'
"""The backend of `EagerEngine`, which only the benchmark has."""
Operation = tuple[str, int, float]
"""A kind of operation, how many the network has, and the milliseconds that all of them take in one run."""


@dataclass(frozen=True)
class Case:
    """One measurement to make."""

    model: Path
    spec: EngineSpec
    """The engine. Its size and precision are given, and its backend may also be `EAGER`."""
    seconds: float
    """Minimum time to measure, without warm-up."""
    peer: bool
    """Whether to measure PyTorch eager, too, taking turns with the engine."""


@dataclass(frozen=True)
class Row:
    """One measurement. Times are medians in milliseconds for the whole batch."""

    model: str
    backend: str
    precision: str
    device: str
    width: int
    height: int
    batch: int
    engine_ms: float
    """The network alone, from bytes to class ids, without copies to and from a GPU."""
    engine_p99_ms: float
    end_to_end_ms: float
    """From an array of images to an array of labels, both in the memory of the CPU."""
    end_to_end_p99_ms: float
    fps: float
    """Images per second, end to end."""
    peak_memory_mb: float
    """Peak memory of the process on a CPU. On a GPU: by how much the device's free memory shrinks up to the first result. On
    a Jetson, CPU and GPU share this memory, so that other programs and file caches change the figure."""
    runs: int
    """Number of end-to-end runs."""
    times_eager: float | None
    """How many times as fast as PyTorch eager, end to end; None where PyTorch eager was not measured in turns with it."""
    power_w: float | None
    """Mean of `board_power` in watts during the end-to-end runs; None without such a sensor."""

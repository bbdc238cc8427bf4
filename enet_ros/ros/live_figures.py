"""The figures of a replay that only a running node has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from enet_ros.ros.client import CameraStatus
from enet_ros.ros.statistics import STAGES, WINDOW

COUNTERS = ('received', 'lost in DDS', 'overwritten', 'refused', 'segmented')


@dataclass(frozen=True)
class LivePlay:
    """How one recording was played to a node."""

    published: int
    """Images that were sent."""
    latencies: Sequence[float]
    """Seconds from an image to its labels, in the order of the images."""
    before: CameraStatus
    """State of the node before the first image."""
    after: Sequence[CameraStatus]
    """Its states since then."""
    seconds: float
    """From the first image to the last labels."""
    late: float
    """Seconds by which an image was sent after it was due, at most."""
    cpu_seconds: float | None = None
    """CPU time of the node's process meanwhile; None for a node that was not started here."""
    memory_mb: float | None = None
    """Peak of its resident memory in MiB; likewise."""

    def drops(self) -> dict[str, int]:
        """Return how many images came back without labels, by where they were dropped."""
        counts = {key: int(self.after[-1].values[key]) - int(self.before.values[key]) for key in COUNTERS}
        drops = {
            'dds': counts['lost in DDS'],
            # the subscription of the node keeps one image; images that are replaced there are not counted by anyone
            'queue': self.published - counts['received'] - counts['lost in DDS'],
            'overwritten': counts['overwritten'],
            'refused': counts['refused'],
            'returning': counts['segmented'] - len(self.latencies),
        }
        return {name: max(0, count) for name, count in drops.items()}


def live_figures(plays: Sequence[LivePlay]) -> dict[str, Any]:
    """Return the figures of all plays together, ready for JSON; definitions: docs/replay.md, "Live"."""
    differences = np.concatenate([np.abs(np.diff(play.latencies)) for play in plays] or [np.zeros(0)])
    drops = [play.drops() for play in plays]
    started = [play for play in plays if play.cpu_seconds is not None and play.seconds]
    seconds = sum(play.seconds for play in started)
    return {
        'published': sum(play.published for play in plays),
        'jitter_ms': round(float(differences.mean()) * 1e3, 3) if differences.size else None,
        'drops': {name: sum(drop[name] for drop in drops) for name in (drops[0] if drops else ())},
        'stages_ms': {stage: _stage([status for play in plays for status in play.after], stage) for stage in STAGES},
        'cpu_percent': round(100 * sum(play.cpu_seconds or 0 for play in started) / seconds, 1) if seconds else None,
        'memory_mb': round(max(play.memory_mb or 0 for play in started), 1) if started else None,
        'late_ms': round(max((play.late for play in plays), default=0.0) * 1e3, 3),
    }


def _stage(statuses: Sequence[CameraStatus], stage: str) -> dict[str, float | None]:
    """Return the median of the medians of the node's windows, and their largest 99th percentile."""
    result: dict[str, float | None] = {}
    for percentile in ('p50', 'p99'):
        key = f'latency {stage} {percentile} (ms)'
        values = [float(status.values[key]) for status in statuses if status.values[key]]
        combined = np.median if percentile == 'p50' else np.max
        result[percentile] = round(float(combined(values)), 2) if values else None
    return result


def is_idle(status: CameraStatus) -> bool:
    """Return whether an active node has segmented no image for as long as its figures reach back: `WINDOW` seconds."""
    return status.values['state'] == 'active' and not status.values['latency total p50 (ms)']


IDLE_TIMEOUT = 2 * WINDOW + 5
"""Seconds after which a node without images must be idle."""

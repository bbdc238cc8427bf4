"""Count what happens to the images of one camera, and measure rates and latencies over the last seconds."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

STAGES = ('wait', 'read', 'network', 'publish', 'total')
"""From the arrival of an image to the worker, message to array, image to labels, labels to published; all of them."""
WINDOW = 5.0
"""Seconds over which rates, latencies and ages are measured."""
_CAPACITY = 1024  # events of a kind that are kept: enough for 200 images per second


@dataclass(frozen=True)
class Totals:
    """Numbers of images since the start.

    `received` is the sum of the next four, and of the image that waits and the one the worker has.
    """

    received: int = 0
    segmented: int = 0
    overwritten: int = 0
    """Replaced by a newer image before the worker took them."""
    refused: int = 0
    """Not segmented because of an error."""
    skipped: int = 0
    """Not segmented because nothing subscribes to the outputs or the node is disabled."""
    lost: int = 0
    """Lost by DDS, thus not received. Images replaced in the queue of the subscription are not counted."""


@dataclass(frozen=True)
class Latency:
    """Percentiles of the duration of a stage, in milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Snapshot:
    """The statistics of one moment. Times are on the monotonic clock, in seconds."""

    time: float
    totals: Totals
    fps_in: float
    """Images received per second; 0 for fewer than two in the window."""
    fps_out: float
    """Images segmented per second; likewise."""
    latencies: Mapping[str, Latency]
    """By stage; empty if no image was segmented in the window."""
    refused: int
    """Images refused in the window."""
    lost_share: float
    """Share of the images in the window that DDS lost."""
    age: float | None
    """Median of the seconds from stamp to arrival in the window; negative for stamps in the future; None = not known."""
    last_image: float | None
    """When the last image arrived; None = none yet."""
    last_error: str
    """Why the last image was refused; empty = none was."""
    last_error_time: float | None
    """When it was refused."""


class CameraStatistics:
    """Counts the images of one camera. All methods may be called from any thread, and memory is bounded.

    Rates and latencies use the monotonic clock: ROS time may stand still or jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Use `clock`, which returns seconds and never goes back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._arrivals: deque[tuple[float, float | None]] = deque(maxlen=_CAPACITY)  # time and age
        self._segmented: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=_CAPACITY)  # time and seconds of `STAGES`
        self._refused: deque[float] = deque(maxlen=_CAPACITY)
        self._lost: deque[tuple[float, int]] = deque(maxlen=_CAPACITY)
        self._last_image: float | None = None
        self._last_error = ''
        self._last_error_time: float | None = None

    def count_received(self, age: float | None) -> None:
        """Count an image that arrived `age` seconds after its stamp by the node's clock; None = unknown (`stamp_age`)."""
        with self._lock:
            self._last_image = self._clock()
            self._arrivals.append((self._last_image, age))
            self._counts['received'] += 1

    def count_segmented(self, stages: Mapping[str, float]) -> None:
        """Count an image whose labels were published; `stages` has the seconds of each of `STAGES`."""
        seconds = tuple(stages[stage] for stage in STAGES)
        with self._lock:
            self._segmented.append((self._clock(), seconds))
            self._counts['segmented'] += 1

    def count_overwritten(self) -> None:
        """Count an image that was replaced by a newer one before the worker took it."""
        with self._lock:
            self._counts['overwritten'] += 1

    def count_refused(self, reason: str) -> None:
        """Count an image that was not segmented because of an error; `reason` is one line."""
        with self._lock:
            self._last_error, self._last_error_time = reason, self._clock()
            self._refused.append(self._last_error_time)
            self._counts['refused'] += 1

    def count_skipped(self) -> None:
        """Count an image that was not segmented because nothing subscribes to the outputs or the node is disabled."""
        with self._lock:
            self._counts['skipped'] += 1

    def count_lost(self, number: int) -> None:
        """Count images that DDS lost: the `total_count_change` of the subscription's event message_lost."""
        with self._lock:
            self._lost.append((self._clock(), number))
            self._counts['lost'] += number

    def snapshot(self) -> Snapshot:
        """Return the statistics of this moment."""
        with self._lock:
            now = self._clock()
            start = now - WINDOW
            arrivals = [arrival for arrival in self._arrivals if arrival[0] >= start]
            segmented = [image for image in self._segmented if image[0] >= start]
            ages = [age for _, age in arrivals if age is not None]
            lost = sum(number for moment, number in self._lost if moment >= start)
            return Snapshot(
                time=now,
                totals=Totals(**self._counts),
                fps_in=_rate([moment for moment, _ in arrivals], now),
                fps_out=_rate([moment for moment, _ in segmented], now),
                latencies=_latencies([seconds for _, seconds in segmented]),
                refused=sum(moment >= start for moment in self._refused),
                lost_share=lost / (lost + len(arrivals)) if lost else 0.0,
                # the median: when ROS time jumps, the ages of a few images are wrong
                age=statistics.median(ages) if ages else None,
                last_image=self._last_image,
                last_error=self._last_error,
                last_error_time=self._last_error_time,
            )


def stamp_age(stamp: int, now: int) -> float | None:
    """Return the seconds from a stamp to `now`, both in nanoseconds of the node's clock.

    None for a stamp of zero, which is not set, and for a clock at zero, which is ROS time before the first /clock.
    """
    return (now - stamp) / 1e9 if stamp and now else None


def _rate(moments: list[float], now: float) -> float:
    """Return events per second: their mean rate, which falls once the next event is overdue."""
    if len(moments) < 2:
        return 0.0
    duration = moments[-1] - moments[0]
    interval = duration / (len(moments) - 1)
    duration = max(duration, now - moments[0] - interval)
    return (len(moments) - 1) / duration if duration else 0.0


def _latencies(images: list[tuple[float, ...]]) -> dict[str, Latency]:
    if not images:
        return {}
    p50, p99 = np.percentile(np.array(images) * 1e3, (50, 99), axis=0)
    return {stage: Latency(float(p50[index]), float(p99[index])) for index, stage in enumerate(STAGES)}

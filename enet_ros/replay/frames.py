"""What passes through a replay: a recorded image with its ground truth, and the same with what the network made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enet_ros.images.frames import Frame


@dataclass(frozen=True)
class ReplayFrame:
    """One image to replay."""

    frame: Frame
    """The image: its name, its time since the first image of the source, its stamp, and how to decode it."""
    truth: Callable[[], NDArray[np.uint8]] | None
    """Returns the ground truth as H x W class ids of the model, 255 = void; None if the frame has none. Raises EnetError if
    it cannot be used."""


@dataclass(frozen=True)
class SegmentedFrame:
    """One image with its labels."""

    name: str
    seconds: float
    """Time since the first image of the source."""
    stamp: tuple[int, int] | None
    """Seconds and nanoseconds of the image; None for files and videos."""
    image: NDArray[np.uint8]
    """H x W x 3, BGR."""
    labels: NDArray[np.uint8]
    """H x W class ids, 255 = void."""
    confidence: NDArray[np.uint8] | None
    """H x W probabilities of the winning class, 0 to 255 for 0 to 1; None if they were not computed."""
    truth: NDArray[np.uint8] | None
    """H x W class ids, 255 = void; None if there is none, or if it cannot be used."""
    latency: float | None
    """Seconds from the image to its labels: the segmenter's time offline, the time between the messages live."""

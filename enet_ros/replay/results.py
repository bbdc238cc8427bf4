"""What the replay of one bag gives. All of it can be pickled, so that another process can replay the bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BagInfo:
    """A bag and the topics of it that were used."""

    name: str
    """Name of the file or folder, without its parents."""
    sha256: str
    """Digest of all its files."""
    image_topic: str
    labels_topic: str
    """Empty without ground truth."""
    images: int
    """Messages on the image topic; for a recording that was cut off, those that can be read."""
    seconds: float
    """From its first to its last image."""


@dataclass(frozen=True)
class Coverage:
    """How much of a bag the figures cover."""

    selected: int
    """Frames that `--start`, `--duration`, `--every` and `--max-frames` chose and that could be read."""
    segmented: int
    """Frames with labels. Live, frames can be dropped."""
    refused: int
    """Selected frames that could not be decoded or were not accepted."""
    with_truth: int
    """Segmented frames that were compared with ground truth."""
    without_truth: int
    """Segmented frames for which the labels topic had no message within the tolerance."""
    truth_refused: int
    """Segmented frames whose ground truth could not be used: another size, unknown ids, damaged."""
    problems: tuple[str, ...] = ()
    """One line for each kind of loss, the first of its kind, with how many there were."""
    notes: tuple[str, ...] = ()
    """Lines about what is unusual without a loss."""

    @property
    def complete(self) -> bool:
        """Return whether everything that was selected was read, segmented and compared."""
        return not self.problems


@dataclass(frozen=True)
class FrameResult:
    """The figures of one frame. None = cannot be computed, such as mean IoU without ground truth."""

    name: str
    seconds: float
    """Time since the first image of the bag."""
    mean_iou: float | None
    accuracy: float | None
    """Share of correct pixels, 0 to 1."""
    flips: float | None
    """`stability.flips` from the previous frame, 0 to 1."""
    confidence: float | None
    """Mean over the pixels that are not predicted void, 0 to 1."""
    class_share: tuple[float, ...]
    """Share of the pixels with each class, 0 to 1."""


@dataclass(frozen=True)
class Picture:
    """One frame to look at. All pictures of a frame have the same size, at most 640 pixels wide."""

    frame: int
    """Index of its FrameResult in the bag's result."""
    image: bytes
    """JPEG."""
    labels: bytes
    """PNG with the colours of the classes; transparent where void."""
    truth: bytes | None
    """Likewise."""
    difference: bytes | None
    """PNG: wrong pixels, where there is ground truth."""


@dataclass(frozen=True)
class ReplayResult:
    """The result of one bag."""

    bag: BagInfo
    coverage: Coverage
    frames: tuple[FrameResult, ...]
    """Segmented frames in the order of the bag."""
    confusion: NDArray[np.int64]
    """`evaluation.metrics.confusion_matrix`, sum of all frames."""
    boundary_confusion: NDArray[np.int64]
    """The same, counting only pixels near the boundaries of classes."""
    confusion_frames: dict[tuple[int, int], tuple[tuple[int, int], ...]]
    """For a pair of (true, predicted) class ids, predicted = number of classes for void: (index of the frame, pixels) of the
    frames where most pixels were confused, largest first, at most 5."""
    confidence_histogram: NDArray[np.int64] | None
    """256 counts of pixels by confidence, `distributions.confidence_histogram`."""
    worst: tuple[Picture, ...]
    """The frames with the lowest mean IoU, or, without ground truth, the lowest confidence; worst first."""
    typical: tuple[Picture, ...]
    """Frames near the median of the same figure."""
    timing: dict[str, Any] = field(default_factory=dict)
    """`latency_ms`: one figure (or None) for each of `frames`, `seconds`: how long all took. Live replay adds its own."""

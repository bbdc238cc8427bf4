"""Match images and ground truth of a recording by their stamps, in one pass and with a bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from enet_ros.images.frames import Frame

WINDOW = 10**9
"""Nanoseconds of recording by which an image and its ground truth may be apart."""
MOST_WAITING = 128
"""Images that wait for ground truth, where the times of recording stand still or go back. Twice as much ground truth is
kept, as the window is open to both sides."""


@dataclass(frozen=True, eq=False)
class _Entry:
    time: int
    """When it was recorded, in nanoseconds."""
    stamp: int
    """Nanoseconds."""
    content: Any
    """The frame of an image, None if it is not selected; the message of ground truth."""


class StampMatcher:
    """Gives each image the unused ground truth with the nearest stamp.

    Ground truth goes to no image if a later one within the look-ahead is nearer, also if that one is not selected.
    """

    def __init__(self, tolerance: int) -> None:
        """Match stamps that differ by at most `tolerance` nanoseconds."""
        self._tolerance = tolerance
        self._images: deque[_Entry] = deque()
        self._truths: deque[_Entry] = deque()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Return how many selected images wait for their ground truth."""
        return self._waiting

    def add_image(self, time: int, stamp: int, frame: Frame | None) -> None:
        """Add the next image; `frame` is None if it is not selected."""
        self._images.append(_Entry(time, stamp, frame))
        self._waiting += frame is not None

    def add_truth(self, time: int, stamp: int, message: Any) -> None:  # noqa: ANN401 - its type is made at run time
        """Add the next message with ground truth."""
        self._truths.append(_Entry(time, stamp, message))

    def matched(self, now: int | None = None) -> Iterator[tuple[Frame, Any]]:
        """Yield the selected images, in order, whose ground truth is known at `now`, with its message; None if it has none.

        Without `now`, yield all that are left.
        """
        while self._images:
            image = self._images[0]
            truth = self._nearest(image)
            may_wait = now is not None and now <= image.time + WINDOW and len(self._images) <= MOST_WAITING
            # without a difference, no later one can be nearer
            if may_wait and (truth is None or truth.stamp != image.stamp):
                break
            self._images.popleft()
            if truth is not None:
                self._truths.remove(truth)
            if image.content is not None:
                self._waiting -= 1
                yield image.content, None if truth is None else truth.content
        if now is not None:
            oldest = (self._images[0].time if self._images else now) - WINDOW
            while self._truths and (self._truths[0].time < oldest or len(self._truths) > 2 * MOST_WAITING):
                self._truths.popleft()

    def _nearest(self, image: _Entry) -> _Entry | None:
        """Return the ground truth for the first image that waits."""
        near = [
            truth for truth in self._truths
            if (difference := abs(truth.stamp - image.stamp)) <= self._tolerance and abs(truth.time - image.time) <= WINDOW
            and all(abs(truth.stamp - other.stamp) >= difference for other in self._images)
        ]
        return min(near, key=lambda truth: abs(truth.stamp - image.stamp), default=None)

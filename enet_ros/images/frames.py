"""One image of an input, and the sequence of all of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One image of a source."""

    name: str
    """Name for the results. A file: its stem. A video: `<stem>_<number>`. A bag: `<stem>_<sec>_<nanosec>` of `stamp`; the
    second frame with the same stamp ends in `_2`, the third in `_3`."""
    seconds: float | None
    """Time since the first frame of the source; None for files, which have no time."""
    path: Path
    """The image file, video or bag."""
    decode: Callable[[], NDArray[np.uint8]]
    """Returns the image, H x W x 3, uint8, BGR. Raises EnetError if it is damaged."""
    topic: str = ''
    """Topic of a bag; empty for files and videos."""
    stamp: tuple[int, int] | None = None
    """Seconds and nanoseconds: those of the message's header, or when it was recorded if the header has none. None for files
    and videos."""
    message: Any = None
    """The recorded sensor_msgs Image or CompressedImage; None for files, videos and damaged messages."""


class FrameSource(ABC):
    """The frames of one input. Iterate it once or more."""

    path: Path
    count: int
    """Number of frames. A video may state a wrong number, or 0."""
    topic: str = ''
    """Topic of a bag; empty for files and videos."""
    pattern: re.Pattern[str] | None = None
    """What the names of all frames match; None for files, whose names are known."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames by name or time.

        Raises:
            IncompleteInputError: after the last readable frame, if the source ends early.

        """

    def files(self) -> Sequence[Path]:
        """Return the image files; empty for a video or bag."""
        return ()

"""The frames of an image topic of a bag."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import ImageMessageError
from enet_ros.images.channels import to_bgr
from enet_ros.images.frames import Frame, FrameSource
from enet_ros.images.messages import ImageReader

if TYPE_CHECKING:
    from enet_ros.images.bags import ImageTopic


class BagImages(FrameSource):
    """One image topic of a bag."""

    def __init__(self, images: ImageTopic) -> None:
        """Make frames of `images`."""
        self.path, self.topic, self.count = images.bag.path, images.topic, images.count
        self.pattern = re.compile(rf'{re.escape(self.path.stem)}_-?\d+_\d{{9,}}(_\d+)?')
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in the order of the bag, as `FrameSource` does."""
        frames = BagFrames(self.path, self.topic)
        return (frames.make(recorded.time, recorded.message) for recorded in self._images)


class BagFrames:
    """Makes frames of the messages of one image topic, in their order."""

    def __init__(self, path: Path, topic: str) -> None:
        """Make frames of `topic` of the bag `path`."""
        self._path, self._topic = path, topic
        self._reader = ImageReader()
        self._start: int | None = None
        self._names: Counter[str] = Counter()

    def make(self, time: int, message: Any) -> Frame:  # noqa: ANN401 - its type is made at run time
        """Return the frame of the next message, which was recorded at `time` in nanoseconds."""
        self._start = time if self._start is None else self._start
        stamp = message_stamp(message) or divmod(time, 10**9)
        name = f'{self._path.stem}_{stamp[0]}_{stamp[1]:09}'
        self._names[name] += 1
        if self._names[name] > 1:  # some drivers repeat a stamp
            name = f'{name}_{self._names[name]}'
        decode = partial(_decode, name, message, self._reader)
        recorded = None if isinstance(message, ImageMessageError) else message
        return Frame(name, self.seconds(time), self._path, decode, self._topic, stamp, recorded)

    def seconds(self, time: int) -> float:
        """Return the time since the first image; 0 before it, which can happen in a recording that was cut off."""
        return max(0.0, (time - (time if self._start is None else self._start)) / 1e9)


def message_stamp(message: Any) -> tuple[int, int] | None:  # noqa: ANN401 - its type is made at run time
    """Return seconds and nanoseconds of the header, or None for a damaged message or a stamp that is not set."""
    if isinstance(message, ImageMessageError):
        return None
    stamp = message.header.stamp
    return (stamp.sec, stamp.nanosec) if stamp.sec or stamp.nanosec else None


def _decode(name: str, message: Any, reader: ImageReader) -> NDArray[np.uint8]:  # noqa: ANN401 - its type is made at run time
    try:
        if isinstance(message, ImageMessageError):
            raise message
        return to_bgr(*(reader.read_compressed(message) if hasattr(message, 'format') else reader.read(message)))
    except ImageMessageError as error:
        raise ImageMessageError(f'{name}: {error}') from error

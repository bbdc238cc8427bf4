"""Images from wherever a user has them: files, folders, videos and bags."""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageMessageError, IncompleteInputError
from enet_ros.images.channels import to_bgr
from enet_ros.images.files import IMAGE_SUFFIXES, image_files, read_image
from enet_ros.images.messages import ImageReader

if TYPE_CHECKING:
    from enet_ros.images.bags import ImageTopic

log = logging.getLogger(__name__)

OTHER_SUFFIXES = ('.bmp', '.jp2', '.pgm', '.ppm', '.tif', '.tiff', '.webp')
"""Image formats that are skipped in a folder."""
_BAG_SUFFIXES = ('.mcap', '.db3', '.bag')


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


class _Files(FrameSource):
    """An image file or a folder of them."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path = path
        self.count = len(files)
        self._files = files

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(path.stem, None, path, partial(read_image, path)) for path in self._files)

    def files(self) -> Sequence[Path]:
        return self._files


class _Video(FrameSource):
    """A video file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pattern = re.compile(rf'{re.escape(path.stem)}_\d{{6,}}')
        with _open_video(path) as video:
            if not video.isOpened():
                raise EnetError(f'{path} is not an image, a folder, a bag or a video that can be read')
            self.count = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        with _open_video(self.path) as video:
            rate = video.get(cv2.CAP_PROP_FPS) or 25.0
            while (read := video.read())[0]:
                yield Frame(f'{self.path.stem}_{number:06}', number / rate, self.path, partial(_return, read[1]))
                number += 1
        if not number:
            raise IncompleteInputError(f'{self.path} has no frame that can be decoded')
        if number < self.count:
            raise IncompleteInputError(f'{self.path} ends early: {number} of {self.count} frames were read')


class _Bag(FrameSource):
    """One image topic of a bag."""

    def __init__(self, images: ImageTopic) -> None:
        self.path, self.topic, self.count = images.bag.path, images.topic, images.count
        self.pattern = re.compile(rf'{re.escape(self.path.stem)}_-?\d+_\d{{9,}}(_\d+)?')
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
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


def open_frames(path: Path, topic: str = '') -> FrameSource:
    """Open an image, a folder of images, a video, or a bag (its only image topic, or `topic`).

    Raises:
        EnetError: the input is missing or cannot be read, or the topic is wrong.

    """
    if not path.exists():
        raise EnetError(f'no such input: {path}')
    if path.suffix.lower() in _BAG_SUFFIXES or (path / 'metadata.yaml').is_file():
        try:  # not at the top: folders and videos can be read without these packages
            from enet_ros.images.bags import open_bag
        except ImportError as error:
            raise EnetError(f'cannot read bag {path} without {error.name}: pip install rosbags mcap') from error
        return _Bag(open_bag(path).images(topic))
    if topic:
        raise EnetError(f'{path} is not a bag and has no topics: remove topic {topic}')
    if path.is_dir():
        return _open_folder(path)
    return _Files(path, [path]) if path.suffix.lower() in IMAGE_SUFFIXES else _Video(path)


def _open_folder(path: Path) -> FrameSource:
    images = image_files(path)
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith('.')]
    folders = [entry for entry in entries if entry.is_dir()]
    others = [entry for entry in entries if entry.suffix.lower() in OTHER_SUFFIXES]
    if images:
        if others:
            log.warning('%d images in %s are skipped, such as %s: convert them to PNG or JPEG',
                        len(others), path, others[0].name)
        if folders:
            log.warning('%d sub-folders of %s are skipped, such as %s: pass them directly',
                        len(folders), path, folders[0].name)
        return _Files(path, images)
    if parts := [entry for entry in entries if entry.suffix.lower() in _BAG_SUFFIXES]:
        more = f' (and {len(parts) - 1} more)' if len(parts) > 1 else ''
        raise EnetError(f'{path} has no metadata.yaml: incomplete recording; pass {parts[0]}{more} directly')
    if folders:
        raise EnetError(f'no images in {path}, but {len(folders)} sub-folders: pass them directly, such as {folders[0]}')
    raise EnetError(f'no images ({", ".join(IMAGE_SUFFIXES)}) in {path}')


def silence_opencv() -> None:
    """Keep OpenCV from printing what is wrong with a video: its user reports that in one line."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # read when the process opens its first video
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def _open_video(path: Path) -> Iterator[cv2.VideoCapture]:
    silence_opencv()
    # only FFmpeg: OpenCV would read a file with a number in its name as a sequence of images
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        yield video
    finally:
        video.release()


def _return(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


def message_stamp(message: Any) -> tuple[int, int] | None:  # noqa: ANN401 - its type is made at run time
    """Return seconds and nanoseconds of the header, or None for a damaged message or a stamp that is not set."""
    if isinstance(message, ImageMessageError):
        return None
    stamp = message.header.stamp
    return (stamp.sec, stamp.nanosec) if stamp.sec or stamp.nanosec else None


def _decode(name: str, message: Any, reader: ImageReader) -> NDArray[np.uint8]:  # noqa: ANN401 - likewise
    try:
        if isinstance(message, ImageMessageError):
            raise message
        return to_bgr(*(reader.read_compressed(message) if hasattr(message, 'format') else reader.read(message)))
    except ImageMessageError as error:
        raise ImageMessageError(f'{name}: {error}') from error

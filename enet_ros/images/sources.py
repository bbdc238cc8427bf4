"""Images from wherever a user has them: files, folders, videos, bags."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError
from enet_ros.images.files import IMAGE_SUFFIXES, image_files, read_image
from enet_ros.images.messages import ImageReader

log = logging.getLogger(__name__)

OTHER_SUFFIXES = ('.bmp', '.jp2', '.pgm', '.ppm', '.tif', '.tiff', '.webp')
"""Of images that a folder is not read for, though a single one is."""
BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


@dataclass(frozen=True)
class Frame:
    """One image of a source."""

    name: str
    """For its results: the stem of the file, with a running number behind it for videos and bags."""
    seconds: float | None
    """Time since the source's first frame; None for files, which have no time."""
    path: Path
    """The file that it comes from."""
    decode: Callable[[], NDArray[np.uint8]]
    """Returns the image, H x W x 3, uint8, BGR; raises EnetError when it is damaged."""


@dataclass(frozen=True)
class FrameSource:
    """The frames of one input; iterate it once or more."""

    path: Path
    count: int
    """How many frames there are; what a video says of itself may be wrong, or 0 where it does not say."""
    topic: str = ''
    """Of a bag: the image topic that is read."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of name or time."""
        if self.topic:
            return _bag_frames(self)
        if self.path.is_dir():
            return (_file_frame(path) for path in image_files(self.path))
        if self.path.suffix.lower() in IMAGE_SUFFIXES:
            return iter((_file_frame(self.path),))
        return _video_frames(self)


def open_frames(path: Path, topic: str = '') -> FrameSource:
    """Open an image, a folder of images, a video, or a bag (its only image topic, or `topic`).

    Raises:
        EnetError: there is no such file, or it is none of these.

    """
    if not path.exists():
        raise EnetError(f'no such input: {path}')
    if path.suffix.lower() in BAG_SUFFIXES or (path / 'metadata.yaml').is_file():
        return _open_bag(path, topic)
    if topic:
        raise EnetError(f'{path} is no bag and has no topics: leave topic {topic} out')
    if path.is_dir():
        if images := image_files(path):
            others = [other for other in sorted(path.iterdir()) if other.suffix.lower() in OTHER_SUFFIXES]
            if others:
                log.warning('%d images in %s are passed over, such as %s: convert them to PNG or JPEG',
                            len(others), path, others[0].name)
            return FrameSource(path, len(images))
        if parts := sorted(part for part in path.iterdir() if part.suffix in BAG_SUFFIXES):
            raise EnetError(f'{path} is a bag without metadata.yaml, whose recording broke off: give {parts[0]} itself')
        raise EnetError(f'no images ({", ".join(IMAGE_SUFFIXES)}) in {path}')
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FrameSource(path, 1)
    video = _open_video(path)
    try:
        if not video.isOpened():
            raise EnetError(f'{path} is neither an image, a folder, a bag nor a video that can be read')
        return FrameSource(path, max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))))
    finally:
        video.release()


def _file_frame(path: Path) -> Frame:
    return Frame(path.stem, None, path, partial(read_image, path))


def _open_video(path: Path) -> cv2.VideoCapture:
    # what goes wrong is said here, in one line
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # with FFmpeg alone: OpenCV would take a file with a number in its name for a sequence of images
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)


def _video_frames(source: FrameSource) -> Iterator[Frame]:
    video = _open_video(source.path)
    try:
        rate = video.get(cv2.CAP_PROP_FPS) or 25.0
        number = 0
        while (read := video.read())[0]:
            yield Frame(f'{source.path.stem}_{number:06}', number / rate, source.path, partial(_decoded, read[1]))
            number += 1
    finally:
        video.release()
    if not number:
        raise EnetError(f'{source.path} holds no frame that can be decoded')
    if number < source.count:  # no error: what a video says may be a guess
        log.warning('%s says that it has %d frames, and %d were decoded: is it whole?', source.path, source.count, number)


def _decoded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


def _open_bag(path: Path, topic: str) -> FrameSource:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as reader:
            topics = {name: info.msgcount for name, info in reader.topics.items() if info.msgtype in IMAGE_TYPES}
    except Exception as error:  # whatever rosbags meets in a damaged file
        raise EnetError(f'cannot read bag {path}: {_line(error)}') from error
    if not topics:
        raise EnetError(f'bag {path} has no topic with images')
    if not topic and len(topics) > 1:
        raise EnetError(f'bag {path} has {len(topics)} image topics: choose one of {", ".join(sorted(topics))}')
    topic = topic or next(iter(topics))
    if topic not in topics:
        raise EnetError(f'bag {path} has no image topic {topic}: choose from {", ".join(sorted(topics))}')
    return FrameSource(path, topics[topic], topic)


def _bag_frames(source: FrameSource) -> Iterator[Frame]:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    reader = ImageReader()
    with AnyReader([source.path], default_typestore=get_typestore(Stores.LATEST)) as bag:
        connections = [connection for connection in bag.connections if connection.topic == source.topic]
        start: int | None = None
        messages = bag.messages(connections)
        for number in count():
            try:
                connection, time, raw = next(messages)
            except StopIteration:
                return
            except Exception as error:  # likewise
                raise EnetError(f'bag {source.path} is damaged after {number} images: {_line(error)}') from error
            start = time if start is None else start
            name = f'{source.path.stem}_{number:06}'
            message: Any
            try:  # now: a frame may be decoded when the bag is closed, and its types are forgotten
                message = bag.deserialize(raw, connection.msgtype)
            except Exception as error:  # likewise
                message = error
            yield Frame(name, (time - start) / 1e9, source.path, partial(_decode, name, message, reader))


def _decode(name: str, message: Any, reader: ImageReader) -> NDArray[np.uint8]:  # noqa: ANN401 - of a type made at run time
    if isinstance(message, Exception):
        raise EnetError(f'{name}: the message is damaged: {_line(message)}') from message
    try:
        image, channels = reader.read_compressed(message) if hasattr(message, 'format') else reader.read(message)
    except EnetError as error:
        raise EnetError(f'{name}: {error}') from error
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if channels == 'rgb' else image


def _line(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__

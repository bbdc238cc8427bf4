"""Images from wherever a user has them: files, folders, videos, bags."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.prepared import IMAGE_SUFFIXES, read_image
from enet_ros.errors import EnetError

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
    pixels: NDArray[np.uint8] | None
    """H x W x 3, BGR; None where it is a file of its own, not read yet."""

    def read(self) -> NDArray[np.uint8]:
        """Return the image, H x W x 3, uint8, BGR.

        Raises:
            EnetError: the file is damaged.

        """
        return read_image(self.path) if self.pixels is None else self.pixels


@dataclass(frozen=True)
class FrameSource:
    """The frames of one input; iterate it once or more."""

    path: Path
    count: int
    """How many frames there are; a video's container may be wrong about it."""
    topic: str = ''
    """Of a bag: the image topic that is read."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of name or time."""
        if self.topic:
            return _bag_frames(self)
        if self.path.is_dir():
            return (Frame(path.stem, None, path, None) for path in _images(self.path))
        if self.path.suffix.lower() in IMAGE_SUFFIXES:
            return iter((Frame(self.path.stem, None, self.path, None),))
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
        if images := _images(path):
            return FrameSource(path, len(images))
        raise EnetError(f'no images ({", ".join(IMAGE_SUFFIXES)}) in {path}')
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FrameSource(path, 1)
    video = _open_video(path)
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    finally:
        video.release()
    if count < 1:
        raise EnetError(f'{path} is neither an image, a folder, a bag nor a video that can be read')
    return FrameSource(path, count)


def _images(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]


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
            yield Frame(f'{source.path.stem}_{number:06}', number / rate, source.path, read[1])
            number += 1
    finally:
        video.release()
    if not number:
        raise EnetError(f'{source.path} holds no frame that can be decoded')


def _open_bag(path: Path, topic: str) -> FrameSource:
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as reader:
            topics = {name: info.msgcount for name, info in reader.topics.items() if info.msgtype in IMAGE_TYPES}
    except (AnyReaderError, OSError) as error:
        raise EnetError(f'cannot read bag {path}: {error}') from error
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

    from enet_ros.image_reader import ImageReader, read_compressed

    reader = ImageReader()
    with ExitStack() as stack:
        bag = stack.enter_context(AnyReader([source.path], default_typestore=get_typestore(Stores.LATEST)))
        connections = [connection for connection in bag.connections if connection.topic == source.topic]
        start: int | None = None
        for number, (connection, time, raw) in enumerate(bag.messages(connections)):
            message: Any = bag.deserialize(raw, connection.msgtype)
            compressed = connection.msgtype.endswith('CompressedImage')
            image, channels = read_compressed(message) if compressed else reader.read(message)
            if channels == 'rgb':
                image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            start = time if start is None else start
            yield Frame(f'{source.path.stem}_{number:06}', (time - start) / 1e9, source.path, image)

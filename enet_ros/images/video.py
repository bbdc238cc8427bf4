"""The frames of a video file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, IncompleteInputError
from enet_ros.images.frames import Frame, FrameSource


class Video(FrameSource):
    """A video file."""

    def __init__(self, path: Path) -> None:
        """Open a video.

        Raises:
            EnetError: it cannot be read.

        """
        self.path = path
        self.pattern = re.compile(rf'{re.escape(path.stem)}_\d{{6,}}')
        with _open_video(path) as video:
            if not video.isOpened():
                raise EnetError(f'{path} is not an image, a folder, a bag or a video that can be read')
            self.count = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames by time, as `FrameSource` does."""
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


def silence_opencv() -> None:
    """Keep OpenCV from printing, for the rest of the process, what is wrong with a video: callers report it in one line."""
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

"""Write what a replay segments: as a bag to look at in Foxglove or RViz, and as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError
from enet_ros.files import replacing
from enet_ros.images.overlay import blend
from enet_ros.images.sources import open_frames
from enet_ros.images.video import silence_opencv
from enet_ros.labels import LabelSet
from enet_ros.replay.bag_writer import nanoseconds, writing_bag
from enet_ros.replay.frames import SegmentedFrame

Output = Callable[[SegmentedFrame], object]
IMAGE_TOPIC, LABELS_TOPIC, OVERLAY_TOPIC = '/image', '/enet/labels', '/enet/overlay'
TRUTH_TOPIC = '/ground_truth/labels'
CODEC = cv2.VideoWriter.fourcc(*'mp4v')
_ALPHA = 0.5
_RATES = (1.0, 240.0)
"""What players handle, in frames per second."""


@contextmanager
def saving(bag: Path | None, video: Path | None, labels: LabelSet, rate: float) -> Iterator[list[Output]]:
    """Yield the functions of `saving_bag` and `saving_video` for the files that are given.

    Raises:
        EnetError: a file cannot be written.

    """
    with ExitStack() as files:
        outputs = []
        if bag:
            outputs.append(files.enter_context(saving_bag(bag, labels)))
        if video:
            outputs.append(files.enter_context(saving_video(video, labels, rate)))
        yield outputs


@contextmanager
def saving_bag(path: Path, labels: LabelSet) -> Iterator[Output]:
    """Yield a function that writes a frame to an mcap file: image, labels, overlay and ground truth, with its stamp.

    The times between the frames are those of the recording.

    Raises:
        EnetError: the file cannot be written.

    """
    palette = labels.palette()[:, ::-1].copy()  # frames are BGR
    start: int | None = None
    named: set[str] = set()
    with writing_bag(path) as bag:

        def save(frame: SegmentedFrame) -> None:
            nonlocal start
            stamp, elapsed = frame.stamp or (0, 0), round(frame.seconds * 1e9)
            if start is None:
                start = nanoseconds(stamp) - elapsed
            bag.set_time(stamp, start + elapsed)
            for topic, ids in ((LABELS_TOPIC, frame.labels), (TRUTH_TOPIC, frame.truth)):
                if ids is not None:
                    if topic not in named:
                        bag.write_classes(topic, labels)
                        named.add(topic)
                    bag.write_image(topic, ids, 'mono8')
            bag.write_image(IMAGE_TOPIC, frame.image)
            bag.write_image(OVERLAY_TOPIC, blend(frame.image, frame.labels, palette, _ALPHA))

        yield save


@contextmanager
def saving_video(path: Path, labels: LabelSet, rate: float) -> Iterator[Output]:
    """Yield a function that adds the overlay of a frame to an mp4 file with `rate` frames per second, 1 to 240.

    Frames of another size than the first are resized to it. Without frames, there is no file.

    Raises:
        EnetError: the file cannot be written, or OpenCV has no encoder for it.

    """
    palette = labels.palette()[:, ::-1].copy()
    with ExitStack() as files:
        temporary: Path | None = None
        video: cv2.VideoWriter | None = None
        size, count = (0, 0), 0

        def save(frame: SegmentedFrame) -> None:
            nonlocal temporary, video, size, count
            overlay: NDArray[np.uint8] = blend(frame.image, frame.labels, palette, _ALPHA)
            if video is None:
                size = (overlay.shape[1], overlay.shape[0])
                temporary = files.enter_context(replacing(path))
                video = _open_video(path, temporary, min(max(rate, _RATES[0]), _RATES[1]), size)
            video.write(overlay if (overlay.shape[1], overlay.shape[0]) == size else cv2.resize(overlay, size))
            count += 1

        try:
            yield save
        finally:
            if video is not None:
                video.release()
        if temporary:
            _check_video(path, temporary, count)


def _open_video(path: Path, temporary: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    silence_opencv()
    video = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, CODEC, rate, size)
    if not video.isOpened():
        raise EnetError(f'cannot write {path}: this OpenCV cannot encode MPEG-4 video of {size[0]}x{size[1]}; '
                        'use --save-bag, or pip install opencv-python-headless')
    return video


def _check_video(path: Path, temporary: Path, count: int) -> None:
    """Check that all frames are in the file: OpenCV reports no error of writing."""
    try:
        written = open_frames(temporary).count
    except EnetError as error:
        raise EnetError(f'cannot write {path}: the file is damaged; is the disk full?') from error
    if written != count:
        raise EnetError(f'cannot write {path}: it has {written} of {count} frames; is the disk full?')

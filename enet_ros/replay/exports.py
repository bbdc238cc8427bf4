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
from enet_ros.labels import LabelSet
from enet_ros.replay.bag_writer import writing_bag
from enet_ros.replay.frames import SegmentedFrame

Output = Callable[[SegmentedFrame], object]
_ALPHA = 0.5


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

    Raises:
        EnetError: the file cannot be written.

    """
    palette = labels.palette()[:, ::-1].copy()  # frames are BGR
    with writing_bag(path) as bag:
        is_first = True

        def save(frame: SegmentedFrame) -> None:
            nonlocal is_first
            stamp = frame.stamp or divmod(round(frame.seconds * 1e9), 10**9)
            if is_first:
                bag.write_classes('/enet/label_info', stamp, labels)
                is_first = False
            bag.write_image('/image', stamp, frame.image)
            bag.write_image('/enet/labels', stamp, frame.labels, 'mono8')
            bag.write_image('/enet/overlay', stamp, blend(frame.image, frame.labels, palette, _ALPHA))
            if frame.truth is not None:
                bag.write_image('/ground_truth/labels', stamp, frame.truth, 'mono8')

        yield save


@contextmanager
def saving_video(path: Path, labels: LabelSet, rate: float) -> Iterator[Output]:
    """Yield a function that adds the overlay of a frame to an mp4 file with `rate` frames per second.

    Frames of another size than the first are resized to it.

    Raises:
        EnetError: the file cannot be written, or OpenCV has no encoder for it.

    """
    palette = labels.palette()[:, ::-1].copy()
    with replacing(path) as temporary:
        video: cv2.VideoWriter | None = None
        size = (0, 0)

        def save(frame: SegmentedFrame) -> None:
            nonlocal video, size
            overlay: NDArray[np.uint8] = blend(frame.image, frame.labels, palette, _ALPHA)
            if video is None:
                size = (overlay.shape[1], overlay.shape[0])
                video = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
                if not video.isOpened():
                    raise EnetError(f'cannot write {path}: this OpenCV has no mp4 encoder; use --save-bag')
            video.write(overlay if (overlay.shape[1], overlay.shape[0]) == size else cv2.resize(overlay, size))

        try:
            yield save
        finally:
            if video is not None:
                video.release()

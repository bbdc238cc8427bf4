"""The frames of a recording as messages to publish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol, TypeAlias

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.errors import EnetError
from enet_ros.images.frames import Frame
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.results import BagInfo
from enet_ros.ros.messages import copy_message, to_message

Message: TypeAlias = 'Image | CompressedImage'


class Frames(Protocol):
    """The frames to play, such as a `Recording`. It is iterated several times."""

    info: BagInfo
    losses: tuple[str, ...]

    @property
    def count(self) -> int:
        """Return the number of frames at most."""

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the frames. Each has a time."""


def first_frame(frames: Frames) -> Frame:
    """Return the first frame whose image can be used."""
    refusal: EnetError | None = None
    for replayed in frames:
        try:
            replayed.frame.decode()
        except EnetError as error:
            refusal = refusal or error
        else:
            return replayed.frame
    raise refusal or EnetError(f'no frame of {frames.info.name} is selected: check --start, --every and the ignored times')


def to_messages(frames: Iterable[ReplayFrame], kind: type[Message]) -> Iterator[tuple[int, float, Message | None]]:
    """Yield number, time and message of each frame; no message for a frame that cannot be sent."""
    for index, replayed in enumerate(frames):
        message = None
        with suppress(EnetError):  # counted when the metrics are computed
            message = make_message(replayed.frame, kind)
        yield index, replayed.frame.seconds or 0.0, message


def make_message(frame: Frame, kind: type[Message]) -> Message:
    """Return a frame as a message of this type: as it was recorded, if it has the type, even if the node has to refuse it.

    Raises:
        EnetError: it cannot be converted.

    """
    recorded = frame.message
    if recorded is not None and hasattr(recorded, 'format') == (kind is CompressedImage):
        return copy_message(recorded)
    if kind is CompressedImage:
        raise EnetError(f'the node takes compressed images, but {frame.name} is raw: start it with image_transport:=raw')
    return to_message(frame.decode(), 'bgr8', Header(frame_id='camera'))

"""The libraries that convert image encodings to RGB: cv_bridge where ROS installs it, or else rosbags-image.

Both read packed rows only. Any object with the fields of sensor_msgs/Image is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import one_line
from enet_ros.images.encodings import ENCODINGS, ImageFields


class Converter(Protocol):
    """A library that converts image encodings."""

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB. Raise any exception if it cannot."""


class CvBridgeConverter:
    """cv_bridge, which is part of every ROS distribution."""

    def __init__(self, bridge: Any = None) -> None:  # noqa: ANN401 - untyped
        """Use `bridge`, by default a new CvBridge.

        Raises:
            ImportError: cv_bridge is not installed or cannot convert, for example because it was built for another NumPy.

        """
        if bridge is None:
            from cv_bridge import CvBridge

            bridge = CvBridge()
        self._bridge = bridge
        pixel = SimpleNamespace(encoding='mono8', width=1, height=1, step=1, is_bigendian=0, data=b'\0')
        try:
            self.to_rgb(pixel)  # loads its compiled part
        except Exception as error:  # a broken library can raise anything
            raise ImportError(f'cv_bridge does not work: {one_line(error)}') from error

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB. Raise any exception if it cannot."""
        if ENCODINGS[message.encoding].planar:
            raise ValueError('cv_bridge accepts planar encodings but does not convert them')
        rgb: NDArray[np.uint8] = self._bridge.imgmsg_to_cv2(message, 'rgb8')
        return rgb


class RosbagsConverter:
    """rosbags-image from PyPI. It reads any object with the fields of an Image."""

    def __init__(self) -> None:
        """Import the library.

        Raises:
            ImportError: rosbags-image is not installed.

        """
        from rosbags.image import image_to_cvimage

        self._convert: Any = image_to_cvimage

    def to_rgb(self, message: ImageFields) -> NDArray[np.uint8]:
        """Return `message`, an Image with packed rows, as H x W x 3, uint8, RGB. Raise any exception if it cannot."""
        rgb: NDArray[np.uint8] = self._convert(message, 'rgb8')
        return rgb


def usable_converters(candidates: Iterable[Callable[[], Converter]]) -> list[Converter]:
    """Return the converters of the `candidates` that can be imported and work, in the same order."""
    converters = []
    for candidate in candidates:
        with suppress(ImportError):
            converters.append(candidate())
    return converters


@cache  # Python repeats a failed import every time, which is slow
def installed_converters() -> tuple[Converter, ...]:
    """Return the converters that work here, the preferred one first."""
    return tuple(usable_converters((CvBridgeConverter, RosbagsConverter)))

"""Make sensor_msgs/Image messages from arrays."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 10**9 + stamp.nanosec


def to_message(image: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """Return `image` (H x W or H x W x 3, uint8) as a message with `encoding` and `header`."""
    message = Image(
        header=header, height=image.shape[0], width=image.shape[1], encoding=encoding, is_bigendian=0,
        step=image.nbytes // image.shape[0],
    )
    # assigning to data would check every element: 323 ms for a 1080p image
    message.data.frombytes(np.ascontiguousarray(image).data)
    return message

"""Make the CameraInfo of a label image from that of the camera."""

from __future__ import annotations

from copy import deepcopy

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from enet_ros.images.resize import Placement


def make_camera_info(info: CameraInfo, header: Header, placement: Placement | None) -> CameraInfo:
    """Return `info` with `header`, for an image of the network's size in `placement`; None = in the camera image's size.

    K, P and the region of interest are scaled as image_proc's ResizeNode does. Distortion and rotation do not change.
    """
    scaled = deepcopy(info)
    scaled.header = header
    if placement is None:
        return scaled
    scaled.width, scaled.height = placement.network_size
    rows = ((0, placement.scale_x, placement.offset_x), (1, placement.scale_y, placement.offset_y))
    for matrix, columns in ((scaled.k, 3), (scaled.p, 4)):
        for row, scale, offset in rows:
            for column in range(columns):
                # the last row is (0, 0, 1) or (0, 0, 1, 0): it adds the offset to the principal point
                last = matrix[2 * columns + column]
                matrix[row * columns + column] = scale * matrix[row * columns + column] + offset * last
    roi = scaled.roi
    if roi.width and roi.height:  # 0 x 0 means the whole image
        roi.x_offset = max(0, round(placement.scale_x * roi.x_offset + placement.offset_x))
        roi.y_offset = max(0, round(placement.scale_y * roi.y_offset + placement.offset_y))
        roi.width = round(placement.scale_x * roi.width)
        roi.height = round(placement.scale_y * roi.height)
    return scaled

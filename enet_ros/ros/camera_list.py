"""Read the list of cameras that multi_camera.launch.py starts the node for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from enet_ros.errors import UsageError, one_line, quoted
from enet_ros.parsing import read_yaml
from enet_ros.ros.settings import camera_names


@dataclass(frozen=True)
class CameraTopics:
    """A camera and where its images come from."""

    name: str
    """Name in the node's topics."""
    image_topic: str
    camera_info_topic: str = ''
    """Empty = camera_info beside the image topic, where drivers publish it."""

    def __post_init__(self) -> None:
        """Fill in the topic of the CameraInfo."""
        if not self.camera_info_topic:
            object.__setattr__(self, 'camera_info_topic', beside(self.image_topic, 'camera_info'))


def beside(topic: str, name: str) -> str:
    """Return the topic `name` in the namespace of `topic`."""
    return ''.join((*topic.rpartition('/')[:2], name))


def read_cameras(file: Path) -> list[CameraTopics]:
    """Read a YAML list of cameras with the fields of CameraTopics.

    Raises:
        UsageError: the file cannot be read, is not such a list, or has names that the node does not accept.

    """
    try:
        entries = read_yaml(file)
    except (OSError, ValueError) as error:
        raise UsageError(f'list of cameras {file}: {one_line(error)}') from error
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'list of cameras {file}: must be a list such as [{{name: front, image_topic: /front/image_raw}}]')
    cameras = [_camera(entry, f'list of cameras {file}, entry {number}') for number, entry in enumerate(entries, 1)]
    names = ','.join(camera.name for camera in cameras)
    if len(camera_names(names)) != len(cameras):
        raise UsageError(f'list of cameras {file}: a name has a comma: {names}')
    return cameras


def _camera(entry: object, where: str) -> CameraTopics:
    known = [field.name for field in fields(CameraTopics)]
    if not isinstance(entry, dict):
        raise UsageError(f'{where}: {quoted(str(entry))} must have {", ".join(known)}')
    for key, value in entry.items():
        if key not in known:
            raise UsageError(f'{where}: {quoted(str(key))} is unknown: choose from {", ".join(known)}')
        if not isinstance(value, str) or not value:
            raise UsageError(f'{where}: {key} is {value!r:.40}: must be text')
    if missing := [key for key in known[:2] if key not in entry]:
        raise UsageError(f'{where}: {missing[0]} is missing')
    return CameraTopics(**entry)

"""Read the frames of bags in tests."""

from __future__ import annotations

from pathlib import Path

from enet_ros.labels import CAMVID
from enet_ros.replay.class_map import ClassMap
from enet_ros.replay.frames import ReplayFrame
from enet_ros.replay.recording import Recording, Selection, open_recording

WITH_TRUTH = Selection('/image', '/labels')


def opened(path: Path, selection: Selection = WITH_TRUTH, class_map: ClassMap | None = None) -> Recording:
    return open_recording(path, selection, class_map, CAMVID)


def frames(path: Path, **selection: object) -> list[ReplayFrame]:
    return list(opened(path, Selection('/image', '/labels', **selection)))


def numbers(found: list[ReplayFrame]) -> list[int]:
    """Return which drawn scene each frame shows."""
    return [int(entry.frame.stamp[0]) - 1 for entry in found]

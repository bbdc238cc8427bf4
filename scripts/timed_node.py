"""The segmentation node for scripts/bench_node.py: it also writes the times of each image to $IMAGE_TIMES."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import Engine, Prediction
from enet_ros.engines.create import create_engine
from enet_ros.ros.camera import Arrival, Camera
from enet_ros.ros.segment_node import main

_FILE = open(os.environ['IMAGE_TIMES'], 'a', buffering=1)  # noqa: SIM115 - as long as the process


class TimedEngine:
    """An engine that times itself."""

    run = (0.0, 0.0)
    """Begin and end of the last run of any engine, on the monotonic clock, which all processes share."""

    def __init__(self, engine: Engine) -> None:
        """Time `engine`."""
        self._engine = engine

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return what the engine returns."""
        start = time.monotonic()
        prediction = self._engine.infer(images)
        TimedEngine.run = (start, time.monotonic())
        return prediction

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - those of the engine
        """Return an attribute of the engine."""
        return getattr(self._engine, name)


class TimedCamera(Camera):
    """A camera that writes for each image: name, stamp, when it arrived and was taken, the run of the engine, the end.

    The end is when the results were published.
    """

    _taken = 0.0

    def take(self) -> Arrival | None:
        """Return the newest image."""
        self._taken = time.monotonic()
        return super().take()

    def publish(self, picture: Any, *results: Any) -> None:  # noqa: ANN401 - those of the camera
        """Publish the results for an image."""
        super().publish(picture, *results)
        end, stamp = time.monotonic(), picture.arrival.message.header.stamp
        times = (picture.arrival.seconds, self._taken, *TimedEngine.run, end)
        _FILE.write(json.dumps([self.name, stamp.sec, stamp.nanosec, *times]) + '\n')


if __name__ == '__main__':
    with (
        patch('enet_ros.segmenter.create_engine', lambda *args, **options: TimedEngine(create_engine(*args, **options))),
        patch('enet_ros.ros.segment_node.Camera', TimedCamera),
    ):
        sys.exit(main())

"""The segmentation node for scripts/bench_node.py: it also writes the seconds of each run of the engine to $ENGINE_TIMES."""

from __future__ import annotations

import os
import sys
import time
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from enet_ros.engines.base import Engine, Prediction
from enet_ros.engines.create import create_engine
from enet_ros.ros.segment_node import main


class TimedEngine:
    """An engine that times itself."""

    def __init__(self, engine: Engine) -> None:
        """Time `engine`."""
        self._engine = engine
        self._file = open(os.environ['ENGINE_TIMES'], 'a', buffering=1)  # noqa: SIM115 - as long as the engine

    def infer(self, images: NDArray[np.uint8]) -> Prediction:
        """Return what the engine returns."""
        start = time.monotonic()
        prediction = self._engine.infer(images)
        end = time.monotonic()
        self._file.write(f'{start!r} {end - start!r}\n')
        return prediction

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - those of the engine
        """Return an attribute of the engine."""
        return getattr(self._engine, name)


if __name__ == '__main__':
    with patch('enet_ros.segmenter.create_engine', lambda *args, **options: TimedEngine(create_engine(*args, **options))):
        sys.exit(main())

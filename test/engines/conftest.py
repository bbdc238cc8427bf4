from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.engines.int8 import PACKAGES
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model


@pytest.fixture(scope='session')
def int8_cache(shipped_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that holds the shipped model's int8 graph for OpenVINO at 240x184. Do not write to it."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        pytest.skip(f'needs {", ".join(missing)}: pip install {" ".join(missing)}')
    scenes = [np.ascontiguousarray(draw_scene(10 * number, 240, 184)[0][..., ::-1]) for number in range(6)]
    folder = tmp_path_factory.mktemp('int8')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ENET_CACHE', str(folder))
        create_engine(read_model(shipped_model), EngineSpec('openvino', 'int8', 240, 184), calibration=scenes)
    return folder

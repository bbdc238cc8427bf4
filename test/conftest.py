from __future__ import annotations

import os
import random
import signal
import sys
import tempfile

# the tests' networks and images are small: more threads would slow them down
os.environ['OMP_NUM_THREADS'] = '1'
# scripts/test.sh sets these; a bare pytest needs them too
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)
os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', os.path.join(os.path.dirname(__file__), '../config/fastdds.xml'))
# nodes of two workers must not hear each other: 37 and 100 have no common factor, so up to 100 workers differ
if worker := os.environ.get('PYTEST_XDIST_WORKER', '').removeprefix('gw'):
    os.environ['ROS_DOMAIN_ID'] = str((int(os.environ['ROS_DOMAIN_ID']) + 37 * int(worker)) % 100 + 1)  # 0 is a robot's
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it in the background, and so would all commands
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, draw_dataset, make_model

from enet_ros.datasets.prepared import Dataset
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.images.synthetic import draw_scene
from enet_ros.resources import default_model


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--gpu', action='store_true', help='run the tests that need an NVIDIA GPU, too')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption('--gpu'):
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='needs an NVIDIA GPU: scripts/test.sh --gpu'))


@pytest.fixture(scope='session')
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an untrained model file for 96x64 images, without a graph beside it."""
    return make_model(tmp_path_factory.mktemp('model') / 'small.safetensors')


@pytest.fixture(scope='session')
def shipped_model() -> Path:
    """Return the CamVid model that the package installs."""
    return default_model()


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests out of the user's cache. What torch.compile compiled in /tmp is used again by later runs."""
    os.environ.setdefault('TORCHINDUCTOR_CACHE_DIR', os.path.join(tempfile.gettempdir(), f'torchinductor_{os.getuid()}'))
    os.environ['ENET_CACHE'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def tensorrt_stand_in() -> Iterator[None]:
    """Make `import tensorrt` import tensorrt-rtx: the same API, which parses and builds without a GPU, but cannot run there.

    What imported it keeps it: enet_ros/engines/tensorrt and torch2trt are loaded once in a process. An installed TensorRT is
    never replaced.
    """
    reason = 'needs tensorrt-rtx: scripts/test.sh installs it on x86-64 for Python 3.10 to 3.13'
    rtx = pytest.importorskip('tensorrt_rtx', reason=reason)
    if find_spec('tensorrt') is not None:
        pytest.skip('needs a machine without TensorRT, where tensorrt-rtx can take its name; test_gpu.py tests the real one')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'tensorrt', rtx)
        yield


@pytest.fixture(autouse=True)
def _without_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a GPU from what does not ask for it: sums differ there, and one GPU is too few for two processes."""
    has_nvidia_gpu.cache_clear()
    if not request.node.get_closest_marker('gpu'):
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)


@pytest.fixture(scope='session')
def camvid() -> Path:
    """Return the folder of the real CamVid."""
    for folder in (os.environ.get('ENET_DATA'), str(ROOT.parent / 'shared' / 'camvid')):
        if folder and (Path(folder) / 'valannot').is_dir():
            return Path(folder)
    pytest.skip('needs CamVid in its 480x360 form: set ENET_DATA to the folder that holds val/ and valannot/')


@pytest.fixture
def drawn_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Return a function that makes a prepared dataset of drawn scenes."""

    def make(train: int = 6, val: int = 2, width: int = 96, height: int = 64) -> Dataset:
        return draw_dataset(tmp_path, train, val, width, height)

    return make


@pytest.fixture
def street() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a drawn street, 64 x 96 x 3, BGR."""
    return draw_scene(5, 96, 64)[0]

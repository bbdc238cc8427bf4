"""What the engine does around TensorRT, with stand-ins for what needs a GPU: the runtime, the build and CUDA.

What really runs on a GPU is in test_gpu.py.
"""

from __future__ import annotations

import logging
import types
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from enet_ros.engines import engine as engine_module
from enet_ros.engines.create import create_engine
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model

SIZE = (96, 64)

pytestmark = pytest.mark.usefixtures('tensorrt_stand_in')


def _image() -> np.ndarray:
    return np.ascontiguousarray(draw_scene(0, *SIZE)[0][..., ::-1])


class Gpu:
    """A GPU that is not there: it loads what this wrote and computes labels with PyTorch on the CPU."""

    def __init__(self, model: ModelFile) -> None:
        self.network = InferenceNetwork(model)
        self.builds = 0
        self.wrong = 0
        """Rows of pixels in which it errs."""

    def build(self, *_: object) -> bytes:
        self.builds += 1
        return f'engine {self.builds}'.encode()

    def frames(self, size: tuple[int, int], compute: object) -> object:
        def run(image: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                labels = self.network(torch.from_numpy(image)[None])[0].numpy()
            labels[:self.wrong] = 255
            return labels

        return types.SimpleNamespace(run=run)


@pytest.fixture
def module() -> types.ModuleType:
    return import_module('enet_ros.engines.tensorrt.engine')


@pytest.fixture
def gpu(module: types.ModuleType, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> Gpu:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    caplog.set_level(logging.INFO, 'enet_ros')
    gpu = Gpu(read_model(small_model))
    monkeypatch.setattr(module, 'check_usable', lambda: None)
    monkeypatch.setattr(module, 'build', gpu.build)
    monkeypatch.setattr(module, 'Runner', lambda engine: engine)
    monkeypatch.setattr(module, 'CudaFrames', gpu.frames)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (8, 7))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Orin')
    return gpu


def test_an_engine_is_built_verified_and_cached_once(
    gpu: Gpu, small_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = read_model(small_model)
    engine = create_engine(model, SIZE, 'tensorrt')
    assert (engine.backend, engine.device, engine.precision, engine.size) == ('tensorrt', 'cuda', 'fp16', SIZE)
    assert engine.infer(_image()).shape == (64, 96)
    (cached,) = (tmp_path / 'cache').iterdir()
    assert 'verified: 100.00 %' in caplog.text and str(cached) in caplog.text
    caplog.clear()
    create_engine(model, SIZE, 'tensorrt')
    assert gpu.builds == 1 and not caplog.messages
    create_engine(model, SIZE, 'tensorrt', 'fp32')
    create_engine(model, SIZE, 'tensorrt', force=True)
    assert gpu.builds == 3 and len(list((tmp_path / 'cache').iterdir())) == 2


def test_an_engine_that_errs_is_refused_with_the_figure_and_not_cached(gpu: Gpu, small_model: Path, tmp_path: Path) -> None:
    gpu.wrong = 1  # of 64 rows
    with pytest.raises(EngineError, match=r'fp16 gives only 98\.4\d % .* 99\.5 % are needed'):
        create_engine(read_model(small_model), SIZE, 'tensorrt')
    assert not (tmp_path / 'cache').exists()


def test_a_damaged_engine_and_one_of_another_version_or_gpu_are_built_anew_saying_why(
    gpu: Gpu, module: types.ModuleType, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = read_model(small_model)
    create_engine(model, SIZE, 'tensorrt')
    (cached,) = (tmp_path / 'cache').iterdir()
    cached.write_bytes(cached.read_bytes()[:-1])
    caplog.clear()
    create_engine(model, SIZE, 'tensorrt')
    assert gpu.builds == 2 and caplog.messages[0] == f'building an engine: {cached} is damaged'
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'NVIDIA H200')
    caplog.clear()
    create_engine(model, SIZE, 'tensorrt')
    assert gpu.builds == 3 and 'for gpu Orin 8.7, not NVIDIA H200 8.7' in caplog.messages[0]

    def refuse(engine: bytes) -> bytes:
        if engine == b'engine 3':
            raise EngineError('serialised by another build')
        return engine

    monkeypatch.setattr(module, 'Runner', refuse)
    caplog.clear()
    create_engine(model, SIZE, 'tensorrt')
    assert gpu.builds == 4 and 'is no use' in caplog.messages[0] and 'another build' in caplog.messages[0]


def test_without_a_cache_it_goes_on_with_one_warning(
    gpu: Gpu, small_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'cache').write_text('a file where the folder should be')
    engine = create_engine(read_model(small_model), SIZE, 'tensorrt')
    assert engine.infer(_image()).shape == (64, 96)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 'not cached' in warning and '\n' not in warning


@pytest.mark.parametrize('error', [MemoryError(), torch.cuda.OutOfMemoryError()], ids=['TensorRT', 'PyTorch'])
def test_too_little_memory_is_one_line_with_a_remedy(
    error: Exception, gpu: Gpu, module: types.ModuleType, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, 'CudaFrames', fail)
    with pytest.raises(EngineError, match=r'too little GPU memory for backend tensorrt at 96x64.*smaller size'):
        create_engine(read_model(small_model), SIZE, 'tensorrt')


def test_int8_without_calibration_images_says_how_to_give_them(gpu: Gpu, small_model: Path) -> None:
    with pytest.raises(EngineError, match=r'build-engine .*--precision int8 .*--calibration'):
        create_engine(read_model(small_model), SIZE, 'tensorrt', 'int8')


def test_a_precision_that_the_gpu_lacks_is_refused_with_the_choices(module: types.ModuleType) -> None:
    assert module.choose_precision('auto', (8, 7)) == 'fp16' and module.choose_precision('auto', (5, 0)) == 'fp32'
    with pytest.raises(EngineError, match='this GPU does not compute in int8: choose fp32, fp16 or auto'):
        module.choose_precision('int8', (5, 3))
    with pytest.raises(EngineError, match='backend tensorrt does not compute in bf16: choose fp32, fp16, int8 or auto'):
        module.choose_precision('bf16', (9, 0))


def test_a_tensorrt_that_is_too_old_is_refused(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.trt, '__version__', '8.5.2')
    with pytest.raises(EngineError, match=r'TensorRT 8\.5\.2 is too old: install 8\.6'):
        module.check_usable()


def test_a_machine_without_a_gpu_is_refused_and_passed_over_by_auto(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = import_module('enet_ros.engines.tensorrt.engine')
    monkeypatch.setattr(module.trt, '__version__', '10.3.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    model = read_model(small_model)
    with pytest.raises(EngineError, match='backend tensorrt needs an NVIDIA GPU'):
        create_engine(model, SIZE, 'tensorrt')
    monkeypatch.setattr(engine_module, 'backends_by_speed', lambda: ['tensorrt', 'torch'])
    assert create_engine(model, SIZE).backend == 'torch'
    (line,) = caplog.messages
    assert line.startswith('backend tensorrt is passed over: ') and 'NVIDIA GPU' in line


def test_auto_prefers_tensorrt_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, 'has_nvidia_gpu', lambda: True)
    assert engine_module.backends_by_speed() == ['tensorrt', 'torch', 'openvino']
    monkeypatch.setattr(engine_module, 'has_nvidia_gpu', lambda: False)
    assert engine_module.backends_by_speed() == ['openvino']


def test_a_backend_that_is_not_installed_is_named(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, 'find_spec', lambda _: None)
    with pytest.raises(EngineError, match='backend tensorrt is not installed: pip install tensorrt torch, or choose'):
        create_engine(read_model(small_model), SIZE, 'tensorrt')

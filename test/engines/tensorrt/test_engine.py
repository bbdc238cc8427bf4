"""TensorRtEngine on a stand-in for the GPU. test_gpu.py tests it on a real one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from enet_ros.engines.base import BuildOptions, Engine, EngineSpec, Prediction
from enet_ros.engines.create import check_and_store
from enet_ros.errors import CalibrationError, EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model

SPEC = EngineSpec('tensorrt', 'auto', 96, 64)

pytestmark = pytest.mark.usefixtures('tensorrt_stand_in')
Make = Callable[..., Engine]


def _images(batch: int = 1) -> np.ndarray:
    return np.stack([np.ascontiguousarray(draw_scene(number, 96, 64)[0][..., ::-1]) for number in range(batch)])


class FakeGpu:
    """Counts builds, and computes with PyTorch on the CPU what an engine would compute."""

    name = 'Orin'
    capability = (8, 7)

    def __init__(self, model: ModelFile) -> None:
        self._model = model
        self.builds = 0
        self.wrong_rows = 0
        self.fault: Exception | None = None
        """What starting an engine raises."""

    def choose_precision(self, precision: str) -> str:
        return 'fp16' if precision == 'auto' else precision

    def build(self, model: ModelFile, spec: EngineSpec, graph: bytes | None, options: BuildOptions) -> bytes:
        self.builds += 1
        self.options = options
        return f'engine {self.builds}'.encode()

    def start(self, engine: bytes, spec: EngineSpec) -> object:
        if self.fault:
            raise self.fault
        network = InferenceNetwork(self._model, confidence=True)

        def infer(images: np.ndarray) -> Prediction:
            with torch.inference_mode():
                labels, confidence = (output.numpy() for output in network(torch.from_numpy(images)))
            labels[:, :self.wrong_rows] = 255
            return Prediction(labels, confidence if spec.confidence else None)

        return SimpleNamespace(infer=infer)


@pytest.fixture
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    caplog.set_level(logging.INFO, 'enet_ros')
    return tmp_path / 'cache'


@pytest.fixture
def gpu(model: ModelFile, cache: Path) -> FakeGpu:
    return FakeGpu(model)


@pytest.fixture
def make(model: ModelFile, gpu: FakeGpu) -> Make:
    """Return a function that makes an engine as `create_engine` does."""
    engine_class = import_module('enet_ros.engines.tensorrt.engine').TensorRtEngine

    def make(*, calibration: object = (), rebuild: bool = False, **changes: object) -> Engine:
        engine = engine_class(model, dataclasses.replace(SPEC, **changes), calibration, rebuild, gpu=gpu)
        check_and_store(engine, model)
        return engine

    return make


def test_an_engine_is_built_and_checked_once_and_then_cached(
    make: Make, gpu: FakeGpu, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make()
    assert engine.spec == dataclasses.replace(SPEC, precision='fp16') and engine.device == 'cuda'
    prediction = engine.infer(_images())
    assert prediction.labels.shape == (1, 64, 96) and prediction.confidence is None
    (cached,) = cache.iterdir()
    assert 'checked: 100.00 %' in caplog.text and str(cached) in caplog.text
    caplog.clear()
    assert not make().is_new
    assert gpu.builds == 1 and not caplog.messages


@pytest.mark.parametrize('changes', [{'precision': 'fp32'}, {'batch': 3}, {'confidence': True}, {'width': 64}], ids=str)
def test_another_spec_is_another_engine(changes: dict, make: Make, gpu: FakeGpu) -> None:
    make()
    make(**changes)
    assert gpu.builds == 2
    assert not make().is_new and not make(**changes).is_new


def test_rebuild_replaces_the_cached_engine(make: Make, gpu: FakeGpu, cache: Path) -> None:
    make()
    (cached,) = cache.iterdir()
    before = cached.read_bytes()
    make(rebuild=True)
    assert gpu.builds == 2 and list(cache.iterdir()) == [cached] and cached.read_bytes() != before


def test_a_wrong_engine_is_refused_and_the_cached_one_is_kept(make: Make, gpu: FakeGpu, cache: Path) -> None:
    gpu.wrong_rows = 1  # of 64
    with pytest.raises(EngineError, match=r'fp16 gives only 98\.4\d % .* 99\.5 % are required'):
        make()
    assert not cache.exists()
    gpu.wrong_rows = 0
    make()
    gpu.wrong_rows = 1
    with pytest.raises(EngineError):
        make(rebuild=True)
    gpu.wrong_rows = 0
    assert not make().is_new


def test_a_damaged_engine_is_built_again_with_the_reason(
    make: Make, gpu: FakeGpu, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make()
    (cached,) = cache.iterdir()
    cached.write_bytes(cached.read_bytes()[:-1])
    caplog.clear()
    make()
    assert gpu.builds == 2 and caplog.messages[0] == f'building an engine: {cached} is damaged'


def test_options_say_how_an_engine_is_built_and_not_which_one_is_cached(
    model: ModelFile, make: Make, gpu: FakeGpu
) -> None:
    engine_class = import_module('enet_ros.engines.tensorrt.engine').TensorRtEngine
    options = BuildOptions(workspace=64, optimization_level=5, prelu='maximum')
    engine = engine_class(model, SPEC, rebuild=True, options=options, gpu=gpu)
    engine.store()
    assert gpu.options == options
    assert not make().is_new and gpu.builds == 1


def test_an_engine_for_another_gpu_is_built_with_the_reason(
    make: Make, gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    make()
    gpu.name = 'NVIDIA H200'
    caplog.clear()
    make()
    assert gpu.builds == 2 and 'for gpu Orin 8.7, not NVIDIA H200 8.7' in caplog.messages[0]


def test_an_engine_that_tensorrt_rejects_is_built_again_with_the_reason(
    model: ModelFile, make: Make, gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(FakeGpu):
        def start(self, engine: bytes, spec: EngineSpec) -> object:
            if engine == b'engine 1':
                raise EngineError('serialised by another version')
            return super().start(engine, spec)

    make()
    picky = Picky(model)
    picky.builds = gpu.builds
    caplog.clear()
    import_module('enet_ros.engines.tensorrt.engine').TensorRtEngine(model, SPEC, gpu=picky)
    assert picky.builds == 2
    assert 'cannot be used' in caplog.messages[0] and 'another version' in caplog.messages[0]


def test_a_cache_that_cannot_be_written_is_a_warning(make: Make, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text('a file where the folder should be')
    assert make().infer(_images()).labels.shape == (1, 64, 96)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 'not cached' in warning and str(cache) in warning and '\n' not in warning


@pytest.mark.parametrize('fault', [MemoryError(), torch.cuda.OutOfMemoryError()], ids=['TensorRT', 'PyTorch'])
def test_a_lack_of_gpu_memory_is_one_line_with_a_remedy(fault: Exception, make: Make, gpu: FakeGpu) -> None:
    gpu.fault = fault
    with pytest.raises(EngineError, match=r'not enough GPU memory for backend tensorrt at 96x64.*smaller size'):
        make()


def test_int8_without_images_names_the_command_that_calibrates(make: Make) -> None:
    with pytest.raises(CalibrationError, match=r'build-engine .*--precision int8 .*--calibration'):
        make(precision='int8')


@pytest.mark.skipif(find_spec('nncf') is None, reason='needs nncf: pip install nncf onnxruntime')
def test_int8_is_calibrated_once_and_its_graph_serves_engines_with_and_without_confidence(
    make: Make, gpu: FakeGpu, cache: Path
) -> None:
    make(precision='int8', calibration=list(_images(2)))
    make(precision='int8', confidence=True)
    assert gpu.builds == 2 and len(list(cache.glob('*.engine'))) == 2
    (graph,) = cache.glob('*int8*.graph')
    # the same images give the same graph and so the cached engine; a lost graph is stored again
    graph.unlink()
    make(precision='int8', calibration=list(_images(2)))
    assert gpu.builds == 2 and graph.is_file()
    make(precision='int8', rebuild=True)
    assert gpu.builds == 3


def test_int8_takes_one_image_at_a_time(make: Make) -> None:
    with pytest.raises(EngineError, match='one image at a time, not 2'):
        make(precision='int8', batch=2)


def test_the_precision_depends_on_the_gpu() -> None:
    gpu = import_module('enet_ros.engines.tensorrt.gpu').Gpu
    assert gpu('Orin', (8, 7)).choose_precision('auto') == 'fp16' and gpu('old', (5, 0)).choose_precision('auto') == 'fp32'
    with pytest.raises(EngineError, match='this GPU does not compute in int8: choose fp32, fp16 or auto'):
        gpu('Nano', (5, 3)).choose_precision('int8')
    with pytest.raises(EngineError, match='backend tensorrt does not compute in bf16: choose fp32, fp16, int8 or auto'):
        gpu('H200', (9, 0)).choose_precision('bf16')


def test_a_tensorrt_that_is_too_old_is_refused() -> None:
    check_version = import_module('enet_ros.engines.tensorrt.gpu').check_version
    for version in ('8.6.1', '10.3.0', '11.0'):
        check_version(version)
    with pytest.raises(EngineError, match=r'TensorRT 8\.5\.2 is too old: install 8\.6'):
        check_version('8.5.2')

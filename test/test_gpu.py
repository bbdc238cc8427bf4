"""Engines and training on a real NVIDIA GPU: scripts/test.sh --gpu."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Literal

import lightning
import numpy as np
import pytest
import torch
from recipes import RECIPE

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import PRELU_FORMS, BuildOptions, Engine, EngineSpec, Prediction
from enet_ros.engines.cache import store_engine
from enet_ros.engines.create import create_engine
from enet_ros.engines.verification import CONFIDENCE_TOLERANCE, check_images
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.training.history import read_history
from enet_ros.training.loop import train_stages

pytestmark = pytest.mark.gpu

SIZE = (240, 184)
TENSORRT = pytest.param('tensorrt', 'fp16', id='tensorrt')


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(scope='module')
def model(shipped_model: Path) -> ModelFile:
    return read_model(shipped_model)


def _need_tensorrt() -> None:
    pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")


def _engine(model: ModelFile, backend: str, precision: str, size: tuple[int, int] = SIZE, **options: object) -> Engine:
    if backend == 'tensorrt':
        _need_tensorrt()
    return create_engine(model, EngineSpec(backend, precision, *size, **options))


def _images(size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Return batches of one image."""
    return [image[None] for image in check_images(size)]


def _agreement(infer: Callable[[np.ndarray], Prediction], model: ModelFile, size: tuple[int, int] = SIZE) -> float:
    """Return the mean share of pixels with PyTorch's label."""
    reference = InferenceNetwork(model)
    with torch.inference_mode():
        return fmean(
            float((infer(images).labels == reference(torch.from_numpy(images)).numpy()).mean()) for images in _images(size)
        )


def test_there_is_a_gpu() -> None:
    assert torch.cuda.is_available(), '--gpu asks for the tests on an NVIDIA GPU, but PyTorch finds none'


@pytest.mark.parametrize(('backend', 'precision', 'least'), [
    ('torch', 'fp32', 0.995), ('torch', 'fp16', 0.995), ('torch', 'bf16', 0.97),
    ('torch-compile', 'fp16', 0.995), ('tensorrt', 'fp32', 0.995), ('tensorrt', 'fp16', 0.995),
])
def test_every_engine_gives_the_labels_of_pytorch(backend: str, precision: str, least: float, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    assert engine.spec == EngineSpec(backend, precision, *SIZE) and engine.device == 'cuda'
    assert _agreement(engine.infer, model) >= least


@pytest.mark.parametrize(('backend', 'precision', 'least'), [
    ('torch', 'fp32', 0.99), ('torch', 'fp16', 0.9), ('torch-compile', 'fp32', 0.99),
    ('tensorrt', 'fp32', 0.99), ('tensorrt', 'fp16', 0.9),
])
def test_every_engine_gives_the_confidence_of_pytorch(backend: str, precision: str, least: float, model: ModelFile) -> None:
    engine = _engine(model, backend, precision, confidence=True)
    reference = InferenceNetwork(model, confidence=True)
    assert _engine(model, backend, precision).infer(_images()[0]).confidence is None
    for images in _images():
        with torch.inference_mode():
            _, expected = reference(torch.from_numpy(images))
        prediction = engine.infer(images)
        assert prediction.confidence is not None
        assert (np.abs(prediction.confidence.astype(int) - expected.numpy()) <= CONFIDENCE_TOLERANCE).mean() >= least


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
@pytest.mark.parametrize('prelu', PRELU_FORMS)
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_tensorrt_gives_the_labels_of_pytorch_in_both_ways(way: str, prelu: str, precision: str, model: ModelFile) -> None:
    _need_tensorrt()
    build = import_module('enet_ros.engines.tensorrt.build').build
    if way == 'torch2trt' and import_module('enet_ros.engines.tensorrt.network').builder_name(precision) != way:
        pytest.skip('needs torch2trt and TensorRT 8.6 to 10')
    spec = EngineSpec('tensorrt', precision, *SIZE)
    gpu = import_module('enet_ros.engines.tensorrt.gpu').find_gpu()
    engine = build(model, spec, None, BuildOptions(prelu=prelu), way=way)
    assert _agreement(gpu.start(engine, spec).infer, model) >= 0.995
    times = gpu.profile(engine, spec)
    assert len(times) > 50 and sum(times.values()) > 0


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_every_image_is_computed_on_any_thread(backend: str, precision: str, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    batches = _images()
    first = [engine.infer(images).labels.copy() for images in batches]
    assert len({labels.tobytes() for labels in first}) == len(batches)
    again: list[np.ndarray] = []
    # the node creates its engine on one thread and uses it on another
    worker = threading.Thread(target=lambda: again.extend(engine.infer(images).labels.copy() for images in batches[::-1]))
    worker.start()
    worker.join()
    assert len(again) == len(batches)
    assert all(np.array_equal(a, b) for a, b in zip(first, again[::-1]))


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_a_batch_gives_each_image_its_own_labels(backend: str, precision: str, model: ModelFile) -> None:
    single = _engine(model, backend, precision)
    batch = np.concatenate(_images())
    together = _engine(model, backend, precision, batch=len(batch)).infer(batch)
    for image, labels in zip(batch, together.labels):
        assert (single.infer(image[None]).labels[0] == labels).mean() > 0.99


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_running_the_network_alone_does_not_change_the_labels(backend: str, precision: str, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    first, second, *_ = _images()
    expected = engine.infer(first).labels.copy()
    network = engine.graph.capture_network()
    with torch.cuda.stream(engine.graph.stream):
        for _ in range(5):
            network.replay()
    engine.graph.stream.synchronize()
    engine.infer(second)
    assert np.array_equal(engine.infer(first).labels, expected)


@pytest.mark.parametrize('confidence', [False, True])
def test_int8_is_calibrated_and_built(confidence: bool, model: ModelFile) -> None:
    _need_tensorrt()
    pytest.importorskip('nncf', reason='needs nncf: pip install nncf onnxruntime')
    scenes = [np.ascontiguousarray(draw_scene(10 * number, *SIZE)[0][..., ::-1]) for number in range(6)]
    spec = EngineSpec('tensorrt', 'int8', *SIZE, confidence=confidence)
    engine = create_engine(model, spec, calibration=scenes)
    assert engine.spec == spec and 0.75 <= _agreement(engine.infer, model) < 1
    assert (engine.infer(_images()[0]).confidence is None) != confidence


def test_the_benchmark_measures_on_the_gpu(model: ModelFile, tmp_path: Path) -> None:
    assert main(['benchmark', '--model', str(model.path), '--sizes', '240x184', '--backends', 'torch', 'torch-eager',
                 '--precisions', 'fp16', '--no-segnet', '--seconds', '0.2', '--profile',
                 '--json', str(tmp_path / 'b.json')]) == 0
    result = json.loads((tmp_path / 'b.json').read_text())
    assert {(row['backend'], row['device'], row['precision']) for row in result['rows']} == {
        ('torch', 'cuda', 'fp16'), ('torch-eager', 'cuda', 'fp16'),
    }
    assert all(row['peak_memory_mb'] > 0 for row in result['rows']) and not result['notes']
    assert all(floor['arithmetic_ms'] > 0 for floor in result['floors'])
    assert all(operations for operations in result['profiles'].values())


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_two_engines_do_not_disturb_each_other(backend: str, precision: str, model: ModelFile) -> None:
    other = (320, 240)
    small, large = (_engine(model, backend, precision, size) for size in (SIZE, other))
    for _ in range(2):
        assert _agreement(small.infer, model) >= 0.995 and _agreement(large.infer, model, other) >= 0.995


def test_memory_grows_neither_with_images_nor_with_engines(model: ModelFile) -> None:
    images = _images()[0]

    def run() -> int:
        """Return the bytes that are allocated after an engine is gone."""
        engine = _engine(model, 'torch', 'fp16')
        engine.infer(images)
        taken = torch.cuda.memory_allocated()
        for _ in range(200):
            engine.infer(images)
        assert torch.cuda.memory_allocated() == taken
        gc.disable()  # reference counting must be enough: a node may replace its engine
        try:
            del engine
        finally:
            gc.enable()
        assert torch.cuda.memory_allocated() < taken
        return torch.cuda.memory_allocated()

    assert run() == run()


def test_a_cached_engine_is_loaded_and_not_built(model: ModelFile, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    built = _engine(model, 'tensorrt', 'fp16')
    assert 'building' in caplog.text and 'checked: ' in caplog.text
    images = _images()[0]
    labels = built.infer(images).labels.copy()
    caplog.clear()
    loaded = _engine(model, 'tensorrt', 'fp16')
    assert not caplog.messages and np.array_equal(loaded.infer(images).labels, labels)
    # damage that the checksum shows, then an engine that only TensorRT can reject
    (file,) = cache.glob('*.engine')
    file.write_bytes(file.read_bytes()[:-100])
    _engine(model, 'tensorrt', 'fp16')
    assert 'is damaged' in caplog.text
    gpu = import_module('enet_ros.engines.tensorrt.gpu').find_gpu()
    key = import_module('enet_ros.engines.tensorrt.engine').engine_key(model, built.spec, gpu)
    store_engine(key, b'not an engine')
    caplog.clear()
    # TensorRT may choose other kernels
    assert (_engine(model, 'tensorrt', 'fp16').infer(images).labels == labels).mean() > 0.99
    assert 'cannot be used' in caplog.text and 'built in' in caplog.text


def test_build_engine_builds_once(model: ModelFile, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _need_tensorrt()
    build = ['build-engine', '--model', str(model.path), '--size', '240x184', '--precision', 'fp16', '--backend', 'tensorrt']
    assert main(build) == 0
    captured = capsys.readouterr()
    (file,) = cache.glob('*.engine')
    assert str(file) in captured.err and 'checked: ' in captured.err and 'is ready' in captured.out
    assert main(build) == 0
    assert 'building' not in capsys.readouterr().err
    assert main([*build, '--force']) == 0
    assert 'building' in capsys.readouterr().err


def test_auto_uses_tensorrt_where_it_is_installed(model: ModelFile) -> None:
    _need_tensorrt()
    assert create_engine(model).spec == EngineSpec('tensorrt', 'fp16', *model.info.training_size)


def test_a_lack_of_memory_is_one_line(model: ModelFile) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(EngineError, match='not enough GPU memory for backend torch') as caught:
            _engine(model, 'torch', 'auto')
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert '\n' not in str(caught.value)


class LittleMemory(lightning.Callback):
    """Has a task see only `free` bytes of free GPU memory."""

    def __init__(self, free: int) -> None:
        self.free = free

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        place = pl_module.place_images
        pl_module.place_images = lambda _: place(self.free)


@pytest.mark.parametrize('precision', ['16-mixed', 'bf16-mixed', '32-true'])
@pytest.mark.parametrize('free', [None, 100_000], ids=['images on the GPU', 'images in main memory'])
def test_a_training_run_finishes_and_resumes(
    free: int | None, precision: Literal['16-mixed', 'bf16-mixed', '32-true'], drawn_dataset: Callable[..., Dataset],
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    callbacks = [LittleMemory(free)] if free else []
    recipe = dataclasses.replace(RECIPE, precision=precision)
    dataset = drawn_dataset()
    path = train_stages(dataset, recipe, tmp_path / 'run', callbacks=callbacks)
    assert ('stay in main memory' in caplog.text) == bool(free)
    history = read_history(tmp_path / 'run' / 'decoder')
    assert [epoch for epoch, _ in history.mean_iou] == [1, 2] and np.isfinite([loss for _, loss in history.loss]).all()
    path.unlink()
    assert train_stages(dataset, recipe, tmp_path / 'run', resume=True).is_file()

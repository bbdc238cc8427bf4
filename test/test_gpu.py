"""The engines on a real NVIDIA GPU: scripts/test.sh --gpu."""

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

import numpy as np
import pytest
import torch
from recipes import RECIPE

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import Engine
from enet_ros.engines.create import create_engine
from enet_ros.engines.verification import check_images
from enet_ros.errors import EngineError
from enet_ros.images.files import write_image
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


def _engine(model: ModelFile, backend: str, precision: str, size: tuple[int, int] = SIZE) -> Engine:
    if backend == 'tensorrt':
        pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")
    return create_engine(model, size, backend, precision)


def _agreement(engine: Engine, model: ModelFile) -> float:
    reference = InferenceNetwork(model)
    with torch.inference_mode():
        return fmean(
            float((engine.infer(image) == reference(torch.from_numpy(image)[None])[0].numpy()).mean())
            for image in check_images(engine.size)
        )


def test_there_is_a_gpu() -> None:
    assert torch.cuda.is_available(), '--gpu asks for the tests on an NVIDIA GPU, and PyTorch finds none'


@pytest.mark.parametrize(('backend', 'precision', 'least'), [
    ('torch', 'fp32', 0.995), ('torch', 'fp16', 0.995), ('torch', 'bf16', 0.97),
    ('torch-compile', 'fp16', 0.995), ('tensorrt', 'fp32', 0.995), ('tensorrt', 'fp16', 0.995),
])
def test_every_engine_gives_pytorchs_labels(backend: str, precision: str, least: float, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    assert (engine.backend, engine.device, engine.precision, engine.size) == (backend, 'cuda', precision, SIZE)
    assert _agreement(engine, model) >= least


@pytest.mark.parametrize('way', ['torch2trt', 'parser'])
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_tensorrt_gives_pytorchs_labels_through_both_ways(
    way: str, precision: str, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")
    network = import_module('enet_ros.engines.tensorrt.network')
    if way == 'torch2trt' and network.builder_name(precision) != way:
        pytest.skip('needs torch2trt and TensorRT 8.6 to 10')
    monkeypatch.setattr(network, 'builder_name', lambda _: way)
    engine = _engine(model, 'tensorrt', precision)
    assert _agreement(engine, model) >= 0.995


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_every_frame_is_computed_anew_also_on_another_thread(backend: str, precision: str, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    images = list(check_images(SIZE))
    first = [engine.infer(image).copy() for image in images]
    assert len({labels.tobytes() for labels in first}) == len(images)
    again: list[np.ndarray] = []
    # the node makes its engine on one thread and runs it on another
    worker = threading.Thread(target=lambda: again.extend(engine.infer(image).copy() for image in reversed(images)))
    worker.start()
    worker.join()
    assert len(again) == len(images)
    assert all(np.array_equal(a, b) for a, b in zip(first, reversed(again)))


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_a_batch_gives_each_image_its_own_labels(backend: str, precision: str, model: ModelFile) -> None:
    single = _engine(model, backend, precision)
    images = np.stack(list(check_images(SIZE)))
    together = create_engine(model, SIZE, backend, precision, batch=len(images)).infer(images)
    for image, labels in zip(images, together):
        assert (single.infer(image) == labels).mean() > 0.99


@pytest.mark.parametrize(('backend', 'precision'), [('torch', 'fp16'), TENSORRT])
def test_timing_the_network_alone_leaves_its_labels_as_they_were(backend: str, precision: str, model: ModelFile) -> None:
    engine = _engine(model, backend, precision)
    first, second, *_ = check_images(SIZE)
    expected = engine.infer(first).copy()
    times = engine.network_times(5)
    assert len(times) == 5 and all(milliseconds > 0 for milliseconds in times)
    engine.infer(second)
    assert np.array_equal(engine.infer(first), expected)


def test_int8_is_calibrated_and_built(model: ModelFile, tmp_path: Path) -> None:
    pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")
    pytest.importorskip('nncf', reason='needs nncf: pip install nncf onnxruntime')
    for number in range(6):
        write_image(tmp_path / 'images' / f'{number}.png', draw_scene(10 * number, *SIZE)[0])
    engine = create_engine(model, SIZE, 'tensorrt', 'int8', calibration=tmp_path / 'images')
    assert engine.precision == 'int8' and 0.75 <= _agreement(engine, model) < 1


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
def test_two_engines_live_side_by_side(backend: str, precision: str, model: ModelFile) -> None:
    small, large = (_engine(model, backend, precision, size) for size in (SIZE, (320, 240)))
    for _ in range(2):
        assert _agreement(small, model) >= 0.995 and _agreement(large, model) >= 0.995


def test_memory_does_not_grow_with_frames_nor_with_engines(model: ModelFile) -> None:
    image = next(check_images(SIZE))

    def run() -> int:
        """Return what an engine leaves behind."""
        engine = _engine(model, 'torch', 'fp16')
        engine.infer(image)
        taken = torch.cuda.memory_allocated()
        for _ in range(200):
            engine.infer(image)
        assert torch.cuda.memory_allocated() == taken
        del engine
        gc.collect()
        return torch.cuda.memory_allocated()

    assert run() == run()


def test_a_cached_engine_is_loaded_and_not_built(model: ModelFile, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    built = _engine(model, 'tensorrt', 'fp16')
    assert 'building' in caplog.text and 'verified' in caplog.text
    image = next(check_images(SIZE))
    labels = built.infer(image).copy()
    caplog.clear()
    loaded = _engine(model, 'tensorrt', 'fp16')
    assert not caplog.messages and np.array_equal(loaded.infer(image), labels)
    # damage that the checksum finds, then an engine that only TensorRT can refuse
    (file,) = cache.glob('*.engine')
    file.write_bytes(file.read_bytes()[:-100])
    _engine(model, 'tensorrt', 'fp16')
    assert 'is damaged' in caplog.text
    engine_module = import_module('enet_ros.engines.tensorrt.engine')
    engine_module.store_engine(engine_module.engine_key(model, SIZE, 'fp16', None), b'no engine')
    caplog.clear()
    assert (_engine(model, 'tensorrt', 'fp16').infer(image) == labels).mean() > 0.99  # perhaps with other kernels
    assert 'is no use' in caplog.text and 'built in' in caplog.text


def test_build_engine_builds_once(model: ModelFile, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")
    build = ['build-engine', '--model', str(model.path), '--size', '240x184', '--precision', 'fp16', '--backend', 'tensorrt']
    assert main(build) == 0
    captured = capsys.readouterr()
    (file,) = cache.glob('*.engine')
    assert str(file) in captured.err and 'verified' in captured.err and 'is ready' in captured.out
    assert main(build) == 0
    assert 'building' not in capsys.readouterr().err
    assert main([*build, '--force']) == 0
    assert 'building' in capsys.readouterr().err


def test_auto_takes_tensorrt_where_it_is_installed(model: ModelFile) -> None:
    pytest.importorskip('tensorrt', reason="needs NVIDIA's TensorRT: pip install tensorrt, or JetPack's")
    engine = create_engine(model, SIZE)
    assert (engine.backend, engine.precision) == ('tensorrt', 'fp16')


def test_too_little_memory_is_one_line(model: ModelFile) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(EngineError, match='too little GPU memory for backend torch') as caught:
            create_engine(model, SIZE, 'torch')
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('precision', ['16-mixed', 'bf16-mixed', '32-true'])
@pytest.mark.parametrize('free', [None, 100_000], ids=['images on the GPU', 'images in main memory'])
def test_a_training_runs_and_goes_on(
    free: int | None, precision: Literal['16-mixed', 'bf16-mixed', '32-true'], drawn_dataset: Callable[..., Dataset],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    if free:
        monkeypatch.setattr('enet_ros.training.task._free_memory', lambda _: free)
    recipe = dataclasses.replace(RECIPE, precision=precision)
    dataset = drawn_dataset()
    path = train_stages(dataset, recipe, tmp_path / 'run')
    assert ('stay in main memory' in caplog.text) == bool(free)
    history = read_history(tmp_path / 'run' / 'decoder')
    assert [epoch for epoch, _ in history.mean_iou] == [1, 2] and np.isfinite([loss for _, loss in history.loss]).all()
    path.unlink()
    assert train_stages(dataset, recipe, tmp_path / 'run', resume=True).is_file()

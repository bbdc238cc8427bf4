from __future__ import annotations

import builtins
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model

from enet_ros.engines import engine as engine_module
from enet_ros.engines.create import create_engine
from enet_ros.engines.onnx_graph import export_graph, graph_paths
from enet_ros.errors import EnetError, EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network

SIZE = (96, 64)


def _image(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1])


def _reference(path: Path, image: np.ndarray) -> np.ndarray:
    """Return what plain PyTorch makes of the image, by the definition of the network alone."""
    with torch.inference_mode():
        scores = load_network(read_model(path))(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    return scores[0].argmax(0).numpy()


@pytest.mark.parametrize('size', [SIZE, (64, 120)], ids=str)
@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_every_engine_gives_the_labels_of_plain_pytorch(backend: str, size: tuple[int, int], small_model: Path) -> None:
    engine = create_engine(read_model(small_model), size, backend, 'fp32')
    assert (engine.backend, engine.precision, engine.size) == (backend, 'fp32', size)
    for number in (0, 30):  # a second image shows what tracing might have baked in
        image = _image(number, size)
        labels = engine.infer(image)
        assert labels.dtype == np.uint8 and labels.shape == image.shape[:2]
        # float32 sums in another order may turn a pixel where two classes are equal
        assert (labels == _reference(small_model, image)).mean() > 0.999


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_mean_and_std_of_the_model_file_are_applied(backend: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from enet_ros.network.model_file import write_model

    plain = read_model(make_model(tmp_path / 'plain.safetensors'))
    # (x - 0) / 0.5 of an image is the plain model's input for an image twice as bright
    scaled_path = tmp_path / 'scaled.safetensors'
    write_model(scaled_path, replace(plain.info, std=(0.5, 0.5, 0.5)), plain.weights)
    dark = _image(3) // 2
    labels = create_engine(read_model(scaled_path), SIZE, backend, 'fp32').infer(dark).copy()
    assert (labels == create_engine(plain, SIZE, backend, 'fp32').infer(dark * 2)).mean() > 0.999
    shifted_path = tmp_path / 'shifted.safetensors'
    write_model(shifted_path, replace(plain.info, mean=(0.2, 0.2, 0.2)), plain.weights)
    bright = np.maximum(_image(3), 51)
    shifted = create_engine(read_model(shifted_path), SIZE, backend, 'fp32').infer(bright).copy()
    assert (shifted == create_engine(plain, SIZE, backend, 'fp32').infer(bright - 51)).mean() > 0.999


def test_bf16_is_used_where_the_cpu_has_it_and_refused_where_not(small_model: Path) -> None:
    model = read_model(small_model)
    if {'avx512_bf16', 'amx_bf16'} & set(Path('/proc/cpuinfo').read_text().split()):
        engine = create_engine(model, SIZE, 'openvino', 'auto')
        assert engine.precision == 'bf16'
        assert (engine.infer(_image(0)) == _reference(small_model, _image(0))).mean() > 0.8  # untrained scores are close
    else:
        assert create_engine(model, SIZE, 'openvino', 'auto').precision == 'fp32'
        with pytest.raises(EngineError, match='bf16 is not supported by this CPU'):
            create_engine(model, SIZE, 'openvino', 'bf16')


def test_fp16_on_a_cpu_is_refused_with_the_choices(small_model: Path) -> None:
    with pytest.raises(EngineError, match=r'fp16 is not supported by this CPU.*choose fp32'):
        create_engine(read_model(small_model), SIZE, 'openvino', 'fp16')
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match='fp16 needs an NVIDIA GPU'):
            create_engine(read_model(small_model), SIZE, 'torch', 'fp16')


def test_compiled_pytorch_gives_the_labels_of_plain_pytorch(small_model: Path) -> None:
    if not (shutil.which('g++') or shutil.which('clang++')):
        pytest.skip('torch.compile needs a C++ compiler: install g++')
    engine = create_engine(read_model(small_model), SIZE, 'torch-compile', 'fp32')
    assert (engine.backend, engine.precision, engine.size) == ('torch-compile', 'fp32', SIZE)
    for number in (0, 30):
        assert (engine.infer(_image(number)) == _reference(small_model, _image(number))).mean() > 0.999


def test_compiled_pytorch_without_a_compiler_is_refused_with_the_remedy(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, 'which', lambda _: None)
    with pytest.raises(EngineError, match=r'torch.compile needs a compiler: install g.., or choose backend torch'):
        create_engine(read_model(small_model), SIZE, 'torch-compile')


def test_what_torch_compile_fails_with_is_one_line(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('no such header\nand much more')

    monkeypatch.setattr(shutil, 'which', lambda name: name)
    monkeypatch.setattr(torch, 'compile', lambda network, dynamic: fail)
    with pytest.raises(EngineError, match=r'^torch.compile failed \(no such header\): choose backend torch$'):
        create_engine(read_model(small_model), SIZE, 'torch-compile')


@pytest.mark.parametrize('backend', ['torch', 'torch-compile'])
def test_pytorch_refuses_int8_with_the_choices(backend: str, small_model: Path) -> None:
    with pytest.raises(EngineError, match=f'backend {backend} does not compute in int8 here: choose fp32, .*bf16 or auto'):
        create_engine(read_model(small_model), SIZE, backend, 'int8')


@pytest.mark.parametrize(('size', 'near'), [((100, 64), '96x64'), ((0, 64), '8x64'), ((96, -8), '96x8')], ids=str)
def test_a_size_that_the_network_cannot_have_is_refused_with_one_that_it_can(
    size: tuple[int, int], near: str, small_model: Path
) -> None:
    with pytest.raises(EngineError, match=f'{size[0]}x{size[1]}.*such as {near}'):
        create_engine(read_model(small_model), size)


def test_unknown_names_are_refused_with_the_choices(small_model: Path) -> None:
    with pytest.raises(EngineError, match=r'backend "tensorflow" is unknown.*openvino'):
        create_engine(read_model(small_model), SIZE, 'tensorflow')
    with pytest.raises(EngineError, match=r'precision "fp8" is unknown.*bf16'):
        create_engine(read_model(small_model), SIZE, 'auto', 'fp8')


@pytest.mark.parametrize(('fault', 'reason'), [
    (ModuleNotFoundError("No module named 'torch'", name='torch'), 'PyTorch is not installed'),
    (ModuleNotFoundError("No module named 'sympy'", name='sympy'), r'cannot be imported \(No module named .sympy'),
    (ImportError('libcusparseLt.so.0: cannot open shared object file'), r'cannot be imported \(libcusparseLt.so.0: cannot'),
    (OSError('libcudart.so.12: cannot open'), r'cannot be imported \(libcudart'),
    (None, r'PyTorch (is built without CUDA|finds none that it can use)'),
], ids=['none', 'half installed', 'a library is missing', 'one cannot be loaded', 'without CUDA'])
def test_a_gpu_that_pytorch_cannot_use_is_told_once_and_the_cpu_taken(
    fault: Exception | None, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # a stand-in for a machine with NVIDIA's driver
    monkeypatch.setattr(engine_module.ctypes, 'CDLL', lambda _: None)
    real_import = builtins.__import__

    def import_(name: str, *arguments: object) -> object:
        if name == 'torch' and fault:
            raise fault
        return real_import(name, *arguments)

    monkeypatch.setattr(builtins, '__import__', import_)
    for _ in range(2):
        assert engine_module.backends_by_speed() == ['openvino']
    (told,) = caplog.messages
    assert re.search(rf'the NVIDIA GPU is not used: .*{reason}', told), told


def test_auto_takes_the_fastest_that_is_installed_and_says_what_is_not(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model(small_model)
    monkeypatch.setattr(engine_module, 'has_nvidia_gpu', lambda: False)
    assert create_engine(model, SIZE).backend == 'openvino'
    find_spec = engine_module.find_spec
    monkeypatch.setattr(engine_module, 'find_spec', lambda name: None if name == 'openvino' else find_spec(name))
    assert create_engine(model, SIZE).backend == 'torch'
    with pytest.raises(EngineError, match='pip install openvino'):
        create_engine(model, SIZE, 'openvino')
    monkeypatch.setattr(engine_module, 'find_spec', lambda _: None)
    with pytest.raises(EngineError, match='no engine is installed'):
        create_engine(model, SIZE)


def test_the_graph_is_exported_once_and_made_anew_when_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    model = read_model(make_model(tmp_path / 'm.safetensors'))
    create_engine(model, SIZE, 'openvino')
    (cached,) = (tmp_path / 'cache').iterdir()
    written = cached.stat().st_mtime_ns
    create_engine(model, (64, 64), 'openvino')
    assert cached.stat().st_mtime_ns == written
    cached.write_bytes(b'no graph')
    labels = create_engine(model, SIZE, 'openvino', 'fp32').infer(_image(0))
    assert (labels == _reference(model.path, _image(0))).mean() > 0.999
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == [cached.name]


def test_a_graph_beside_the_model_is_used_only_if_it_is_of_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    first, second = (read_model(make_model(tmp_path / f'{seed}.safetensors', seed)) for seed in (1, 2))
    export_graph(first, first.path.with_suffix('.onnx'))
    create_engine(first, SIZE, 'openvino')
    assert not (tmp_path / 'cache').exists()
    shutil.copy(first.path.with_suffix('.onnx'), second.path.with_suffix('.onnx'))
    labels = create_engine(second, SIZE, 'openvino', 'fp32').infer(_image(0))
    assert (labels == _reference(second.path, _image(0))).mean() > 0.999
    assert graph_paths(second)[1].is_file()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'cache').write_text('a file where the folder should be')
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    with pytest.raises(EnetError, match=r'cannot write .*cache'):
        create_engine(read_model(make_model(tmp_path / 'm.safetensors')), SIZE, 'openvino')


def test_the_openvino_engine_runs_without_torch(tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 'm.safetensors'))
    export_graph(model, model.path.with_suffix('.onnx'))
    script = f"""
import sys
import numpy as np
sys.modules['torch'] = sys.modules['onnx'] = None  # importing them fails
from pathlib import Path
from enet_ros.segmenter import Segmenter, SegmenterConfig
segmenter = Segmenter(SegmenterConfig(Path({str(model.path)!r}), backend='openvino'))
print(segmenter.segment(np.zeros((30, 50, 3), np.uint8), 'rgb').shape)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout == '(30, 50)\n'

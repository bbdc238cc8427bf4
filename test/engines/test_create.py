from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from enet_ros.engines.base import Engine, EngineSpec, Prediction
from enet_ros.engines.create import check_and_store, create_engine, first_working
from enet_ros.engines.onnx_graph import load_graph
from enet_ros.engines.owner_thread import OwnerThread
from enet_ros.errors import CalibrationError, EnetError, EngineError
from enet_ros.hardware import cpu_has_bf16
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile, read_model, write_model
from enet_ros.network.registry import load_network

SIZE = (96, 64)
BACKENDS = ['torch', 'openvino']
needs_compiler = pytest.mark.skipif(
    not (shutil.which('g++') or shutil.which('clang++')), reason='torch.compile needs a C++ compiler: install g++'
)


def _image(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ascontiguousarray(draw_scene(number, *size)[0][..., ::-1])


def _spec(backend: str, precision: str = 'fp32', size: tuple[int, int] = SIZE, **options: object) -> EngineSpec:
    return EngineSpec(backend, precision, *size, **options)


def _scores(model: ModelFile, image: np.ndarray) -> torch.Tensor:
    """Return the scores (C x H x W) by the definition of the network: no folding, no code of the engines."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (model.info.mean, model.info.std))
    with torch.inference_mode():
        return load_network(model)(((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None])[0]


def _labels(model: ModelFile, image: np.ndarray) -> np.ndarray:
    return _scores(model, image).argmax(0).numpy()


def _confidence(model: ModelFile, image: np.ndarray) -> np.ndarray:
    """Return the softmax probability of the best class in 1/255."""
    return 255 * _scores(model, image).softmax(0).amax(0).numpy()


@pytest.fixture
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


@pytest.mark.parametrize('size', [SIZE, (64, 120)], ids=str)
@pytest.mark.parametrize('backend', BACKENDS)
def test_every_engine_gives_the_labels_of_plain_pytorch(backend: str, size: tuple[int, int], model: ModelFile) -> None:
    engine = create_engine(model, _spec(backend, size=size))
    assert engine.spec == _spec(backend, size=size) and engine.device == 'cpu'
    for number in (0, 30):  # the second image shows values that tracing may have fixed
        image = _image(number, size)
        labels = engine.infer(image[None]).labels
        assert labels.dtype == np.uint8 and labels.shape == (1, *image.shape[:2])
        # sums in another order may change a pixel where two classes score alike
        assert (labels[0] == _labels(model, image)).mean() > 0.999


@pytest.mark.parametrize(('backend', 'batch'), [
    ('torch', 1), ('torch', 3), ('openvino', 1), ('openvino', 3),
    pytest.param('torch-compile', 3, marks=needs_compiler),  # one case: compiling takes long
])
def test_every_engine_gives_the_labels_and_confidence_of_plain_pytorch_for_every_image_of_a_batch(
    backend: str, batch: int, shipped_model: Path
) -> None:
    model = read_model(shipped_model)
    engine = create_engine(model, _spec(backend, batch=batch, confidence=True))
    for first in (0, 30):
        images = np.stack([_image(first + number) for number in range(batch)])
        prediction = engine.infer(images)
        confidence = prediction.confidence
        assert confidence is not None and confidence.dtype == np.uint8 and confidence.shape == prediction.labels.shape
        for image, labels, found in zip(images, prediction.labels, confidence):
            expected = _confidence(model, image)
            assert expected.max() - expected.min() > 100
            assert (np.abs(found - expected) <= 2).mean() >= 0.99
            assert (labels == _labels(model, image)).mean() > 0.999


@pytest.mark.parametrize('backend', BACKENDS)
def test_an_engine_without_confidence_returns_none(backend: str, model: ModelFile) -> None:
    assert create_engine(model, _spec(backend)).infer(_image(0)[None]).confidence is None


def test_an_engine_without_confidence_does_no_work_for_it(model: ModelFile) -> None:
    from enet_ros.engines.openvino_engine import compile_graph

    def operations(*, confidence: bool) -> tuple[int, int]:
        compiled = compile_graph(load_graph(model), _spec('openvino', confidence=confidence))
        return len(compiled.outputs), len(compiled.get_runtime_model().get_ops())

    # on a thread of its own: see `_OWNER` in openvino_engine.py
    outputs, count = OwnerThread('test').call(lambda: operations(confidence=False))
    outputs_with, count_with = OwnerThread('test').call(lambda: operations(confidence=True))
    assert (outputs, outputs_with) == (1, 2) and count < count_with
    engine = create_engine(model, _spec('torch'))
    assert isinstance(engine.network(torch.from_numpy(_image(0)[None])), torch.Tensor)


@pytest.mark.parametrize('backend', BACKENDS)
def test_mean_and_std_of_the_model_file_are_applied(backend: str, model: ModelFile, tmp_path: Path) -> None:
    info = replace(model.info, mean=(0.4, 0.1, 0.2), std=(0.5, 0.2, 0.3))
    write_model(tmp_path / 'm.safetensors', info, model.weights)
    other = read_model(tmp_path / 'm.safetensors')
    labels = create_engine(other, _spec(backend)).infer(_image(3)[None]).labels[0]
    assert (labels == _labels(other, _image(3))).mean() > 0.999
    assert (labels == _labels(model, _image(3))).mean() < 0.99


def test_bf16_is_used_where_the_cpu_has_it_and_refused_elsewhere(model: ModelFile) -> None:
    engine = create_engine(model, _spec('openvino', 'auto'))
    assert engine.spec.precision == ('bf16' if cpu_has_bf16() else 'fp32')
    if not cpu_has_bf16():
        with pytest.raises(EngineError, match='bf16 is not supported by this CPU'):
            create_engine(model, _spec('openvino', 'bf16'))
    # the classes of an untrained network score nearly alike
    assert (engine.infer(_image(0)[None]).labels[0] == _labels(model, _image(0))).mean() > 0.8


@pytest.mark.parametrize(('backend', 'precision', 'message'), [
    ('openvino', 'fp16', 'fp16 .*choose fp32'),
    ('torch', 'fp16', 'fp16 needs an NVIDIA GPU'),
    ('torch', 'int8', 'backend torch does not compute in int8 here: choose fp32, .*bf16 or auto'),
    ('torch-compile', 'int8', 'backend torch-compile does not compute in int8 here: choose fp32, .*bf16 or auto'),
])
def test_a_precision_that_a_backend_lacks_is_refused_with_the_choices(
    backend: str, precision: str, message: str, model: ModelFile
) -> None:
    with pytest.raises(EngineError, match=message):
        create_engine(model, _spec(backend, precision))


def test_torch_compile_without_a_compiler_is_refused_with_the_remedy(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(EngineError, match=r'install g\+\+, or choose backend torch'):
        create_engine(model, _spec('torch-compile'))


def test_a_failure_of_torch_compile_is_one_line(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / 'g++'
    compiler.write_text('#!/bin/sh\necho no such header >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path / 'inductor'))
    with pytest.raises(EngineError, match=r'torch.compile failed \(.*\): choose backend torch') as caught:
        create_engine(model, _spec('torch-compile', size=(64, 64)))
    assert '\n' not in str(caught.value)


def _threads(engine: Engine) -> int:
    """Return with how many threads an engine computes on the calling thread."""
    engine.infer(np.zeros((1, *engine.spec.size[::-1], 3), np.uint8))
    if engine.spec.backend == 'openvino':
        return engine.request.get_compiled_model().get_property('INFERENCE_NUM_THREADS')
    return torch.get_num_threads()


@pytest.fixture
def torch_threads() -> Iterator[int]:
    """Return PyTorch's number of threads, which is set again after the test."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.usefixtures('torch_threads')
@pytest.mark.parametrize('backend', BACKENDS)
def test_the_given_threads_compute_the_same_labels_and_no_more_than_there_are_cores(
    backend: str, shipped_model: Path
) -> None:
    model, cores = read_model(shipped_model), len(os.sched_getaffinity(0))
    expected = create_engine(model, _spec(backend)).infer(_image(3)[None]).labels.copy()
    for threads, used in ((1, 1), (2, min(2, cores)), (1024, None)):
        engine = create_engine(model, _spec(backend, threads=threads))
        assert (engine.infer(_image(3)[None]).labels == expected).mean() > 0.999
        # a core may count as two, for its two hardware threads
        assert _threads(engine) == used or (used is None and cores // 2 <= _threads(engine) <= cores)


def test_each_pytorch_engine_uses_its_threads_on_any_thread(model: ModelFile, torch_threads: int) -> None:
    two, default = create_engine(model, _spec('torch', threads=2)), create_engine(model, _spec('torch'))
    wanted = [min(2, len(os.sched_getaffinity(0))), torch_threads] * 2
    found: list[int] = []
    work = threading.Thread(target=lambda: found.extend(map(_threads, (two, default, two, default))))
    work.start()
    work.join()
    assert found == wanted == [_threads(engine) for engine in (two, default, two, default)]


class FakeEngine:
    """A new engine that computes with PyTorch, and can be wrong."""

    device = 'cpu'
    is_new = True

    def __init__(self, model: ModelFile, spec: EngineSpec, *, wrong_rows: int = 0, brighter: int = 0) -> None:
        self.spec = spec
        self.stored = False
        self._network = InferenceNetwork(model, confidence=True)
        self._wrong_rows, self._brighter = wrong_rows, brighter

    def infer(self, images: np.ndarray) -> Prediction:
        with torch.inference_mode():
            labels, confidence = (output.numpy() for output in self._network(torch.from_numpy(images)))
        labels[:, :self._wrong_rows] = 255
        brighter = np.where(confidence < 128, confidence + self._brighter, confidence - self._brighter).astype(np.uint8)
        return Prediction(labels, brighter if self.spec.confidence else None)

    def store(self) -> None:
        self.stored = True


@pytest.mark.parametrize(('precision', 'batch'), [('fp32', 1), ('bf16', 3)])
def test_a_new_engine_is_checked_and_then_stored(
    precision: str, batch: int, model: ModelFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    engine = FakeEngine(model, _spec('fake', precision, batch=batch, confidence=True), brighter=2)
    check_and_store(engine, model)
    assert engine.stored and 'checked: 100.00 %' in caplog.text


@pytest.mark.parametrize(('faults', 'options', 'message'), [
    ({'wrong_rows': 1}, {}, r'fp32 gives only 98\.4\d % .*labels.* 99\.5 %'),
    ({'wrong_rows': 1}, {'batch': 3}, r'98\.4\d %'),
    ({'wrong_rows': 20}, {'precision': 'int8'}, r'int8 gives only .* 75\.0 %.*: calibrate with more or other images'),
    ({'brighter': 3}, {'confidence': True}, r'0\.00 % .*confidence.* 99\.0 %'),
    ({'brighter': 3}, {'confidence': True, 'precision': 'fp16'}, r'0\.00 % .*confidence.* 90\.0 %'),
], ids=str)
def test_a_wrong_engine_is_refused_with_the_figure_and_not_stored(
    faults: dict, options: dict, message: str, model: ModelFile
) -> None:
    engine = FakeEngine(model, replace(_spec('fake'), **options), **faults)
    with pytest.raises(EngineError, match=message):
        check_and_store(engine, model)
    assert not engine.stored


def test_an_engine_from_the_cache_is_not_checked_again(model: ModelFile) -> None:
    engine = FakeEngine(model, _spec('fake'), wrong_rows=64)
    engine.is_new = False
    check_and_store(engine, model)
    assert not engine.stored


def _creator(model: ModelFile, faults: dict[str, EnetError]) -> Callable[[str], Engine]:
    def create(backend: str) -> Engine:
        if backend in faults:
            raise faults[backend]
        return FakeEngine(model, _spec(backend))

    return create


def test_auto_logs_a_backend_that_fails_and_takes_the_next(model: ModelFile, caplog: pytest.LogCaptureFixture) -> None:
    engine = first_working(['tensorrt', 'torch', 'openvino'], _creator(model, {'tensorrt': EngineError('too old')}))
    assert engine.spec.backend == 'torch'
    assert [record.getMessage() for record in caplog.records] == ['backend tensorrt is not used: too old']


def test_auto_raises_the_error_of_the_last_backend(model: ModelFile) -> None:
    faults = {'torch': EngineError('no memory'), 'openvino': EngineError('no disk')}
    with pytest.raises(EngineError, match='no disk'):
        first_working(['torch', 'openvino'], _creator(model, faults))


@pytest.mark.parametrize('error', [CalibrationError('needs images'), EnetError('damaged')], ids=repr)
def test_auto_does_not_hide_what_another_backend_cannot_fix(error: EnetError, model: ModelFile) -> None:
    with pytest.raises(type(error), match=str(error)):
        first_working(['tensorrt', 'torch'], _creator(model, {'tensorrt': error}))


def test_int8_without_images_is_an_error_also_with_auto(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path))
    with pytest.raises(CalibrationError, match=r'enet build-engine .*--size 96x64 .*--calibration'):
        create_engine(model, _spec('auto', 'int8'))


# What is installed and whether there is a GPU is a property of a process: in these tests, of a process of their own.

_SCRIPT = """
import logging, sys
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.errors import EngineError
from enet_ros.network.model_file import read_model
import numpy as np
logging.basicConfig(format='%(levelname)s %(message)s', stream=sys.stdout, force=True)
for backend in sys.argv[2:]:
    try:
        engine = create_engine(read_model(Path(sys.argv[1])), EngineSpec(backend, 'fp32', 96, 64))
        print(engine.spec.backend, engine.infer(np.zeros((1, 64, 96, 3), np.uint8)).labels.shape)
    except EngineError as error:
        print(error)
"""


def _run(model: Path, *backends: str, missing: tuple[str, ...] = (), **variables: str) -> list[str]:
    """Return the lines that the script prints in a process where `missing` packages cannot be found."""
    hide = ''.join(f'import sys; sys.modules[{name!r}] = None\n' for name in missing)  # the import system's way to say so
    done = subprocess.run(
        [sys.executable, '-c', hide + _SCRIPT, str(model), *backends], capture_output=True, text=True, timeout=120,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def gpu_machine(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that makes the environment of a machine with NVIDIA's driver and the given Python packages."""

    def make(**packages: str) -> dict[str, str]:
        loaded = (line.split()[-1] for line in Path('/proc/self/maps').read_text().splitlines())
        (tmp_path / 'libcuda.so.1').symlink_to(next(path for path in loaded if path.endswith('/libc.so.6')))  # any library
        for name, source in packages.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / '__init__.py').write_text(source)
        return {'LD_LIBRARY_PATH': str(tmp_path), 'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}

    return make


def test_the_openvino_engine_needs_no_pytorch(shipped_model: Path) -> None:
    assert _run(shipped_model, 'openvino', 'auto', missing=('torch', 'onnx', 'tensorrt')) == ['openvino (1, 64, 96)'] * 2


@pytest.mark.parametrize('backend', BACKENDS)
def test_without_threads_an_engine_uses_the_cores_that_the_process_may_use(backend: str, small_model: Path) -> None:
    script = f"""
import os, sys
from pathlib import Path
os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.network.model_file import read_model
engine = create_engine(read_model(Path({str(small_model)!r})), EngineSpec({backend!r}, 'fp32'))
if {backend!r} == 'openvino':
    print(engine.request.get_compiled_model().get_property('INFERENCE_NUM_THREADS'))
else:
    import torch
    print(torch.get_num_threads())
"""
    environment = {name: value for name, value in os.environ.items() if name != 'OMP_NUM_THREADS'}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == '1\n', done.stderr


def test_auto_uses_what_is_installed_and_names_what_is_not(small_model: Path) -> None:
    lines = _run(small_model, 'auto', 'openvino', 'tensorrt', missing=('openvino', 'tensorrt'))
    assert lines[0] == 'torch (1, 64, 96)'
    assert 'pip install openvino' in lines[1] and 'pip install tensorrt' in lines[2]
    (line,) = _run(small_model, 'auto', missing=('openvino', 'tensorrt', 'torch'))
    assert 'no engine is installed' in line and 'pip install openvino' in line


def test_auto_on_a_gpu_machine_skips_broken_installations(
    shipped_model: Path, gpu_machine: Callable[..., dict[str, str]]
) -> None:
    environment = gpu_machine(
        tensorrt='raise ImportError("libnvinfer.so.10: cannot open shared object file")',
        torch='class cuda:\n    is_available = lambda: True\n',  # a PyTorch that sees the GPU, but lacks all the rest
    )
    first, second, last = _run(shipped_model, 'auto', **environment)
    assert first.startswith('WARNING backend tensorrt is not used: ') and 'libnvinfer.so.10' in first
    assert second.startswith('WARNING backend torch is not used: ') and 'install it again' in second
    assert last == 'openvino (1, 64, 96)'


@pytest.mark.parametrize(('torch_package', 'reason'), [
    ('raise ModuleNotFoundError("No module named \'sympy\'", name="sympy")', 'cannot be imported (No module named'),
    ('raise ImportError("libcusparseLt.so.0: cannot open\\n  more")', 'cannot be imported (libcusparseLt.so.0: cannot open'),
    ('raise OSError("libcudart.so.12: cannot open")', 'cannot be imported (libcudart.so.12'),
    ('class cuda:\n    is_available = lambda: False\nclass version:\n    cuda = None\n', 'built without CUDA'),
    ('class cuda:\n    is_available = lambda: False\nclass version:\n    cuda = "12"\n', 'finds no usable GPU'),
], ids=['half installed', 'missing library', 'broken library', 'without CUDA', 'without a usable GPU'])
def test_a_gpu_that_pytorch_cannot_use_is_logged_once_and_the_cpu_is_used(
    torch_package: str, reason: str, shipped_model: Path, gpu_machine: Callable[..., dict[str, str]]
) -> None:
    warning, *engines = _run(shipped_model, 'auto', 'auto', **gpu_machine(torch=torch_package))
    assert warning.startswith('WARNING the NVIDIA GPU is not used: ') and reason in warning
    assert engines == ['openvino (1, 64, 96)'] * 2


def test_a_gpu_without_pytorch_is_logged_with_the_remedy(
    shipped_model: Path, gpu_machine: Callable[..., dict[str, str]]
) -> None:
    warning, _ = _run(shipped_model, 'auto', missing=('torch',), **gpu_machine())
    assert 'PyTorch is not installed' in warning and 'install a PyTorch with CUDA' in warning


def test_an_interrupt_while_a_runtime_initialises_is_not_a_broken_installation(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / 'openvino').mkdir()
    (tmp_path / 'openvino' / '__init__.py').write_text(
        "raise ImportError('initialization failed') from KeyboardInterrupt()  # as a compiled module reports it\n")
    script = f"""
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.network.model_file import read_model
try:
    create_engine(read_model(Path({str(small_model)!r})), EngineSpec('openvino'))
except KeyboardInterrupt:
    print('interrupted')
"""
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get('PYTHONPATH'))))
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          env={**os.environ, 'PYTHONPATH': path})
    assert done.stdout == 'interrupted\n', done.stderr

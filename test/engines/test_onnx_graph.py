"""Which ONNX graph an engine runs: never one that is damaged, planted or of another model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import make_model

from enet_ros.cli.main import main
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.engines.onnx_graph import add_graph, export_graph
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import read_model, write_model

SIZE = (96, 64)
SPEC = EngineSpec('openvino', 'fp32', *SIZE)
IMAGE = np.ascontiguousarray(draw_scene(3, *SIZE)[0][..., ::-1])[None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def model(shipped_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the shipped model with its graph beside it."""
    for suffix in ('.safetensors', '.onnx'):
        shutil.copy(shipped_model.with_suffix(suffix), tmp_path / f'm{suffix}')
    return tmp_path / 'm.safetensors'


def _agreement(model: Path) -> float:
    """Return the share of pixels with PyTorch's label."""
    engine = create_engine(read_model(model), SPEC)
    with torch.inference_mode():
        expected = InferenceNetwork(read_model(model))(torch.from_numpy(IMAGE)).numpy()
    return float((engine.infer(IMAGE).labels == expected).mean())


def _flip_a_bit(graph: Path) -> None:
    """Flip the highest bit of the exponent of a slope: it still is a graph, with other labels."""
    data = bytearray(graph.read_bytes())
    slopes = onnx.load(str(graph)).graph.initializer[-1].raw_data
    data[data.index(slopes) + 3] ^= 0x40
    graph.write_bytes(data)


def _cut(graph: Path) -> None:
    graph.write_bytes(graph.read_bytes()[:1000])


def _break_the_text(graph: Path) -> None:
    """Make a name in the graph invalid UTF-8."""
    graph.write_bytes(graph.read_bytes().replace(b'labels', b'\xff\xff\xff\xff\xff\xff'))


def _plant(graph: Path) -> None:
    """Write the graph of other weights, as this package exports it."""
    info = read_model(graph.with_suffix('.safetensors')).info
    other = read_model(make_model(graph.parent / 'other.safetensors'))
    graph.write_bytes(export_graph(replace(other, info=replace(other.info, mean=info.mean, std=info.std))))


DAMAGES = [_flip_a_bit, _cut, _break_the_text, _plant]


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_or_planted_graph_beside_the_model_is_never_run(
    damage: Callable[[Path], None], model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert _agreement(model) > 0.999 and not caplog.messages
    damage(model.with_suffix('.onnx'))
    assert _agreement(model) > 0.999
    (line,) = caplog.messages
    assert line.startswith(f'{model.with_suffix(".onnx")} is not used: ')


@pytest.mark.parametrize('damage', [_flip_a_bit, Path.unlink], ids=['a flipped bit', 'missing'])
def test_without_pytorch_such_a_model_is_refused_with_the_remedy(damage: Callable[[Path], None], model: Path) -> None:
    script = f"""
import sys
sys.modules['torch'] = None  # the import system's way to say that it is missing
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.network.model_file import read_model
print(create_engine(read_model(Path({str(model)!r})), EngineSpec('openvino', 'fp32', 96, 64)).spec.backend)
"""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=os.environ.copy())

    assert run().stdout == 'openvino\n'
    damage(model.with_suffix('.onnx'))
    last = run().stderr.splitlines()[-1]
    assert 'EngineError' in last and 'exporting one needs torch: pip install torch, or run "enet export-graph"' in last


def test_a_model_with_another_description_does_not_keep_the_record_of_its_graph(model: Path, cache: Path) -> None:
    read = read_model(model)
    write_model(model, replace(read.info, mean=(0.5, 0.5, 0.5)), read.weights)
    assert _agreement(model) > 0.999 and list(cache.iterdir())


def test_export_graph_makes_a_graph_that_is_used_and_keeps_the_weights(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_model(tmp_path / 'm.safetensors')
    before = read_model(path)
    assert before.graph == {} and main(['export-graph', str(path)]) == 0
    assert str(tmp_path / 'm.onnx') in capsys.readouterr().out
    after = read_model(path)
    assert after.info == before.info and after.weights.keys() == before.weights.keys()
    assert all(np.array_equal(after.weights[name], values) for name, values in before.weights.items())
    assert _agreement(path) > 0.999 and not cache.exists()


def test_a_graph_is_exported_once_and_again_when_it_is_damaged(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_model(tmp_path / 'm.safetensors')
    assert _agreement(path) > 0.999
    (cached,) = cache.iterdir()
    written = cached.stat().st_mtime_ns
    assert _agreement(path) > 0.999 and cached.stat().st_mtime_ns == written and not caplog.messages
    data = bytearray(cached.read_bytes())
    data[-1000] ^= 0x40
    cached.write_bytes(data)
    assert _agreement(path) > 0.999
    assert caplog.messages == [f'the ONNX graph is exported again: {cached} is damaged']
    assert list(cache.iterdir()) == [cached]


def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text('a file where the folder should be')
    assert _agreement(make_model(tmp_path / 'm.safetensors')) > 0.999
    (line,) = [line for line in caplog.messages if 'not cached' in line]
    assert str(cache) in line and '\n' not in line


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('enet_ros.engines.onnx_graph.find_spec', lambda name: None)
    with pytest.raises(EngineError, match=r'needs torch: pip install torch'):
        add_graph(make_model(tmp_path / 'm.safetensors'))


def test_a_pytorch_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(model: object, args: object, f: object, export_params: bool = True) -> None:
        """Have the parameters of PyTorch 2.3."""

    monkeypatch.setattr(torch.onnx, 'export', export)
    monkeypatch.setattr(torch, '__version__', '2.3.0')
    with pytest.raises(EngineError, match=r'PyTorch 2\.3\.0 is too old to export ONNX graphs: install PyTorch 2\.5'):
        add_graph(make_model(tmp_path / 'm.safetensors'))

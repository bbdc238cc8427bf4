"""What TorchEngine chooses for a GPU, and what it cannot write. test_gpu.py tests it on a GPU."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.engines.torch_engine import TorchEngine, _choose_precision
from enet_ros.errors import EngineError
from enet_ros.network.model_file import read_model

SPEC = EngineSpec('torch', 'bf16', 96, 64)


@pytest.fixture(autouse=True)
def _old_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PyTorch's function as it was in 2.3, the version of JetPack 6.0: without an argument, it counts emulation."""
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)


@pytest.mark.parametrize('capability', [(8, 0), (8, 7), (9, 0), (12, 0)], ids=str)
def test_a_gpu_that_computes_in_bf16_may_use_it(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    assert _choose_precision(SPEC, 'cuda') == 'bf16'


@pytest.mark.parametrize('capability', [(5, 3), (7, 2), (7, 5)], ids=str)
def test_a_gpu_that_only_emulates_bf16_is_refused(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    with pytest.raises(EngineError, match='bf16 is not supported by this GPU: choose fp16, fp32 or auto'):
        _choose_precision(SPEC, 'cuda')


@pytest.mark.skipif(not (shutil.which('g++') or shutil.which('clang++')), reason='torch.compile needs g++: install it')
def test_a_folder_that_torch_compile_cannot_write_is_one_line(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').touch()  # not a mode, which root ignores
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path / 'file'))
    with pytest.raises(EngineError, match='set TORCHINDUCTOR_CACHE_DIR') as caught:
        create_engine(read_model(small_model), EngineSpec('torch-compile', 'fp32', 64, 64))
    assert str(tmp_path / 'file') in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.skipif(not (shutil.which('g++') or shutil.which('clang++')), reason='torch.compile needs g++: install it')
@pytest.mark.parametrize('mode', [0o700, 0o777], ids=['own cache', 'cache that others can write'])
def test_compiled_code_is_kept_where_no_other_user_can_put_it(
    mode: int, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / 'cache'
    cache.mkdir()
    cache.chmod(mode)
    monkeypatch.setenv('ENET_CACHE', str(cache))
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', '')  # so that it is set again afterwards
    del os.environ['TORCHINDUCTOR_CACHE_DIR']
    monkeypatch.setattr(torch, 'compile', lambda network, **_: network)
    TorchEngine(read_model(small_model), EngineSpec('torch-compile', 'fp32', 96, 64))
    folder = Path(os.environ['TORCHINDUCTOR_CACHE_DIR'])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder == cache / 'torch-compile') == (mode == 0o700)
    assert [record.levelname for record in caplog.records] == ['WARNING'] * (mode == 0o777)

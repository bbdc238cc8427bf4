from __future__ import annotations

from pathlib import Path

import pytest
from helpers import make_model

from enet_ros.engines.base import EngineSpec, is_lack_of_memory
from enet_ros.errors import EngineError
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.model_file import ModelFile, read_model


@pytest.fixture
def model(small_model: Path) -> ModelFile:
    return read_model(small_model)


def test_a_spec_without_size_takes_the_training_size(model: ModelFile) -> None:
    assert EngineSpec().resolve(model) == EngineSpec(width=96, height=64)
    assert EngineSpec(height=120).resolve(model).size == (96, 120)
    spec = EngineSpec('openvino', 'bf16', 64, 32, batch=3, confidence=True)
    assert spec.resolve(model) == spec


@pytest.mark.parametrize(('size', 'near'), [((100, 64), '96x64'), ((96, -8), '96x8'), ((4, 3), '8x8')], ids=str)
def test_a_size_the_network_cannot_take_is_refused_with_a_valid_one(
    size: tuple[int, int], near: str, model: ModelFile
) -> None:
    with pytest.raises(EngineError, match=f'{size[0]}x{size[1]}.*multiples of 8.*{near}'):
        EngineSpec('auto', 'auto', *size).resolve(model)


def test_the_smallest_size_is_that_of_the_architecture(tmp_path: Path) -> None:
    segnet = read_model(make_model(tmp_path / 'm.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    smallest = segnet.info.architecture.smallest_side
    assert smallest > 8
    with pytest.raises(EngineError, match=f'at least {smallest}'):
        EngineSpec(width=smallest - 8).resolve(segnet)
    assert EngineSpec(width=smallest).resolve(segnet).width == smallest


def test_an_unknown_name_is_refused_with_the_choices(model: ModelFile) -> None:
    with pytest.raises(EngineError, match=r'backend "tensorflow" .*openvino'):
        EngineSpec('tensorflow').resolve(model)
    with pytest.raises(EngineError, match=r'precision "fp8" .*bf16'):
        EngineSpec(precision='fp8').resolve(model)


@pytest.mark.parametrize('batch', [0, -1])
def test_a_batch_without_images_is_refused(batch: int, model: ModelFile) -> None:
    with pytest.raises(EngineError, match=f'batch is {batch}: must be at least 1'):
        EngineSpec(batch=batch).resolve(model)


@pytest.mark.parametrize('threads', [-1, 1025])
def test_an_impossible_number_of_threads_is_refused(threads: int, model: ModelFile) -> None:
    with pytest.raises(EngineError, match=rf'threads is {threads}: must be in \[0, 1024\], where 0 = all cores'):
        EngineSpec(threads=threads).resolve(model)


@pytest.mark.parametrize(('text', 'lack'), [
    ('CUDA out of memory. Tried to allocate 20.00 MiB', True),
    ('std::bad_alloc', True),
    ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes", True),
    ('CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate', True),
    ('CUDA error: an illegal memory access was encountered', False),
])
def test_runtimes_report_a_lack_of_memory_in_their_own_words(text: str, lack: bool) -> None:
    assert is_lack_of_memory(text) == lack

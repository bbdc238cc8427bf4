from __future__ import annotations

import os
from pathlib import Path

import pytest

from enet_ros.errors import TrainingError
from enet_ros.training.machine import check_machine, choose_precision, is_main_process, process_counts


def test_precision_auto_is_bf16_only_on_hardware_with_bf16() -> None:
    assert choose_precision('auto', True) == 'bf16-mixed'
    assert choose_precision('auto', False) == '32-true'


@pytest.mark.parametrize('bf16', [False, True])
def test_a_precision_of_the_recipe_is_kept(bf16: bool) -> None:
    assert choose_precision('16-mixed', bf16) == '16-mixed'


@pytest.fixture
def four_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what torchrun sets: two machines with two processes each, this one not the first."""
    for name, value in (('WORLD_SIZE', '4'), ('LOCAL_WORLD_SIZE', '2'), ('RANK', '2')):
        monkeypatch.setenv(name, value)


def test_processes_are_those_of_torchrun(four_processes: None) -> None:
    assert process_counts() == (4, 2) and not is_main_process()


def test_without_torchrun_there_is_one_process() -> None:
    assert process_counts() == (1, 1) and is_main_process()


def test_every_process_needs_a_sample(four_processes: None) -> None:
    check_machine(4, 10, 0, '32-true', False)
    for batch_size, samples in ((3, 10), (10, 3)):
        with pytest.raises(TrainingError, match=r'4 processes .* at most 3'):
            check_machine(batch_size, samples, 0, '32-true', False)


def test_every_process_needs_a_gpu_if_there_are_gpus(four_processes: None) -> None:
    check_machine(4, 4, 2, '32-true', False)
    with pytest.raises(TrainingError, match=r'2 processes for 1 GPUs.*--nproc_per_node 1'):
        check_machine(4, 4, 1, '32-true', False)


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    check_machine(1, 1, 0, '32-true', False)
    with pytest.raises(TrainingError, match=r'g\+\+, or train without --compile'):
        check_machine(1, 1, 0, '32-true', True)
    compiler = tmp_path / 'g++'
    compiler.touch(0o755)
    assert os.access(compiler, os.X_OK)
    check_machine(1, 1, 0, '32-true', True)


def test_half_precision_needs_a_gpu() -> None:
    check_machine(1, 1, 1, '16-mixed', False)
    with pytest.raises(TrainingError, match='precision 16-mixed needs a GPU: use auto'):
        check_machine(1, 1, 0, '16-mixed', False)

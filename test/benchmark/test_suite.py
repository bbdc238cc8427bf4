from __future__ import annotations

from pathlib import Path

import pytest
from helpers import make_model

from enet_ros.benchmark.suite import choose_backends, costs, make_cases, measure_all
from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.model_file import ModelFile, read_model


@pytest.fixture(scope='module')
def models(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, ModelFile]:
    segnet = make_model(tmp_path_factory.mktemp('segnet') / 'segnet.safetensors', architecture=SegNetArchitecture(11))
    return {path: read_model(path) for path in (small_model, segnet)}


def test_cases_are_all_combinations_and_eager_runs_in_fp32_on_a_cpu(models: dict[Path, ModelFile]) -> None:
    cases = make_cases(models, ['openvino', 'torch-eager'], ['bf16', 'int8'], [(96, 64), (64, 64)], [1, 2], 1.5)
    assert len(set(cases)) == len(cases) == 2 * 2 * 2 * (2 + 1)
    assert {(case.spec.backend, case.spec.precision) for case in cases} == {
        ('openvino', 'bf16'), ('openvino', 'int8'), ('torch-eager', 'fp32'),
    }
    assert cases[0].spec == EngineSpec('openvino', 'bf16', 96, 64, 1) and cases[0].seconds == 1.5


def test_only_engines_of_enet_are_measured_in_turns_with_eager(models: dict[Path, ModelFile]) -> None:
    cases = make_cases(models, ['openvino', 'torch-eager'], ['fp32'], [(96, 64)], [1], 1)
    assert [(case.model.stem, case.spec.backend) for case in cases if case.peer] == [('small', 'openvino')]


def test_torch_compile_is_only_measured_on_request_without_a_gpu() -> None:
    assert 'torch-compile' not in choose_backends(None) and {'torch', 'torch-eager'} <= set(choose_backends(None))
    assert choose_backends(['torch-compile']) == ['torch-compile']


def test_cases_of_which_none_can_run_are_an_error_with_the_reason(models: dict[Path, ModelFile]) -> None:
    segnet = next(path for path in models if path.stem == 'segnet')
    with pytest.raises(EnetError, match=r'96x24.*at least 32'):
        measure_all(make_cases({segnet: models[segnet]}, ['torch-eager'], [], [(96, 24)], [1], 1))


def test_table_3_counts_each_model(models: dict[Path, ModelFile]) -> None:
    enet, segnet = costs(models)
    assert (enet.model, enet.network, enet.parameters) == ('small', 'ENet', 365_007)
    assert (segnet.model, segnet.network, segnet.classes) == ('segnet', 'SegNet', 11)
    assert enet.fp16_mb == pytest.approx(2 * 365_007 / 2**20) and enet.gflops == pytest.approx(3.49, abs=0.005)

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from enet_ros.benchmark.baseline import write_segnet
from enet_ros.benchmark.case import Case, Row
from enet_ros.benchmark.measure import measure
from enet_ros.cli.main import main
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.errors import OutOfMemoryError
from enet_ros.exit_codes import ExitCode
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model

CONTRACT = {
    'model', 'backend', 'precision', 'device', 'width', 'height', 'batch', 'engine_ms', 'end_to_end_ms', 'fps',
    'peak_memory_mb',
}
"""What section 4 of the design promises of a row."""
MORE = {'engine_p99_ms', 'end_to_end_p99_ms', 'runs', 'times_eager', 'power_w'}


def test_enet_segnet_and_pytorch_eager_are_measured_and_written(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tables = tmp_path / 'b.json', tmp_path / 'b.md'
    code = main(['benchmark', '--model', str(small_model), '--sizes', '96x64', '--backends', 'openvino', 'torch-eager',
                 '--precisions', 'fp32', 'fp16', '--batch', '2', '--seconds', '0.05', '--json', str(out),
                 '--markdown', str(tables)])
    assert code == 0
    result = json.loads(out.read_text())
    rows = {(row['model'], row['backend']): row for row in result['rows']}
    assert set(rows) == set(product(('small', 'segnet_untrained'), ('openvino', 'torch-eager')))
    for row in rows.values():
        assert set(row) == CONTRACT | MORE
        assert (row['width'], row['height'], row['batch'], row['device']) == (96, 64, 2, 'cpu')
        assert 0 < row['end_to_end_ms'] <= row['end_to_end_p99_ms'] and 0 < row['engine_ms'] <= row['engine_p99_ms']
        assert row['fps'] == pytest.approx(2e3 / row['end_to_end_ms'])
        assert row['runs'] >= 1
    # SegNet has 29 M more weights, in float32
    large, small = (rows[model, 'torch-eager']['peak_memory_mb'] for model in ('segnet_untrained', 'small'))
    assert large > small + 90
    assert rows['small', 'openvino']['times_eager'] > 0
    assert rows['small', 'torch-eager']['times_eager'] is None
    assert rows['segnet_untrained', 'openvino']['times_eager'] is None
    assert {floor['row']['model'] for floor in result['floors']} == {'small', 'segnet_untrained'}
    assert all(floor['arithmetic_ms'] > 0 and floor['traffic_ms'] > 0 for floor in result['floors'])
    assert {(case['backend'], case['precision']) for case in result['not_measured']} == {('openvino', 'fp16')}
    assert all('fp16' in case['reason'] for case in result['not_measured'])
    printed = capsys.readouterr().out
    assert printed == tables.read_text()
    assert '| small (ENet) | 11 | 3.49 (3.83) |' in printed and '| SegNet / ENet |' in printed


def test_a_case_without_enough_memory_is_a_dash(small_model: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, resource.RLIM_INFINITY))

    segnet = tmp_path / 'segnet.safetensors'
    write_segnet(segnet, read_model(small_model))
    done = subprocess.run(
        [sys.executable, '-m', 'enet_ros.cli.main', 'benchmark', '--model', str(segnet), '--no-segnet', '--seconds', '0.05',
         '--sizes', '96x64', '2400x2400', '--backends', 'torch-eager', '--json', str(tmp_path / 'b.json')],
        capture_output=True, text=True, preexec_fn=limit,
    )
    assert done.returncode == 0, done.stderr
    (missing,) = json.loads((tmp_path / 'b.json').read_text())['out_of_memory']
    assert missing['width'] == 2400
    line = next(line for line in done.stdout.splitlines() if line.startswith('| segnet | torch-eager | fp32'))
    assert line.endswith('| - |')


def test_int8_is_measured_at_the_sizes_it_was_calibrated_for(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('nncf')
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    images = [np.ascontiguousarray(draw_scene(number, 96, 64)[0][..., ::-1]) for number in (0, 20)]
    create_engine(read_model(small_model), EngineSpec('openvino', 'int8', 96, 64), calibration=images)
    assert main(['benchmark', '--model', str(small_model), '--no-segnet', '--sizes', '96x64', '64x64',
                 '--backends', 'openvino', '--precisions', 'int8', '--seconds', '0.05', '--profile',
                 '--json', str(tmp_path / 'b.json')]) == 0
    result = json.loads((tmp_path / 'b.json').read_text())
    assert [row['width'] for row in result['rows']] == [96]
    assert [case['width'] for case in result['not_measured']] == [64]
    assert 'calibration' in result['not_measured'][0]['reason']
    (operations,) = result['profiles'].values()
    assert any('Convolution' in kind and 'I8' in kind and milliseconds > 0 for kind, _, milliseconds in operations)
    assert result['notes'] == []


def test_a_killed_process_is_out_of_memory_at_once(small_model: Path) -> None:
    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.05)
        children[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(OutOfMemoryError, match='memory'):  # which the system reports by killing
        measure(Case(small_model, EngineSpec('openvino', 'fp32', 96, 64), 1000, False))


def test_the_script_of_ros2_run_measures_too(small_model: Path, tmp_path: Path) -> None:
    script = ROOT / 'scripts' / 'lib' / 'enet'  # what ros2 run starts
    done = subprocess.run(
        [sys.executable, script, 'benchmark', '--model', str(small_model), '--no-segnet', '--sizes', '96x64',
         '--seconds', '0.05', '--backends', 'openvino', '--precisions', 'fp32'],
        capture_output=True, text=True, cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert '| small | openvino | fp32 | cpu |' in done.stdout


@pytest.mark.skipif(find_spec('tensorrt') is not None, reason='needs a machine without TensorRT')
def test_a_backend_that_is_not_installed_is_refused_with_its_package(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['benchmark', '--model', str(small_model), '--backends', 'openvino', 'tensorrt']) == 1
    error = capsys.readouterr().err
    assert 'backend tensorrt' in error and 'pip install tensorrt\n' in error


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--sizes', '0x360'], '0x360'),
    (['--batch', '0'], '"0"'),
    (['--seconds', 'nan'], '"nan"'),
    (['--backends', 'onnx'], "invalid choice: 'onnx'"),
], ids=str)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['benchmark', *arguments])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_two_model_files_with_the_same_name_are_refused(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / small_model.name
    same.write_bytes(small_model.read_bytes())
    assert main(['benchmark', '--model', str(small_model), str(same)]) == 1
    assert f'named {small_model.stem}' in capsys.readouterr().err


def test_an_interrupt_prints_at_once_what_was_measured(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[Case] = []

    def measure_one(case: Case) -> Row:
        if measured:
            raise KeyboardInterrupt
        measured.append(case)
        return Row('small', 'openvino', 'fp32', 'cpu', 96, 64, 1, *[1.5] * 6, runs=3, times_eager=None, power_w=None)

    def refuse(*_: object) -> None:
        raise AssertionError('takes seconds, in which the process may be killed')

    monkeypatch.setattr('enet_ros.benchmark.suite.measure', measure_one)
    for work in ('costs', 'floors', 'profile_all'):
        monkeypatch.setattr(f'enet_ros.cli.benchmark.{work}', refuse)
    out = tmp_path / 'b.json'
    assert main(['benchmark', '--model', str(small_model), '--sizes', '96x64', '120x64', '--backends', 'openvino',
                 '--precisions', 'fp32', '--no-segnet', '--profile', '--json', str(out)]) == ExitCode.INTERRUPTED
    assert '| openvino | fp32 | 1 | 96x64 | 1.50 |' in capsys.readouterr().out
    result = json.loads(out.read_text())
    assert len(result['rows']) == 1 and [case['reason'] for case in result['not_measured']] == ['interrupted']

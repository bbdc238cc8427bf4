from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT

from enet_ros.benchmark.baseline import write_segnet
from enet_ros.benchmark.measure import Case, measure
from enet_ros.cli.main import main
from enet_ros.engines.create import create_engine
from enet_ros.errors import OutOfMemoryError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model

CONTRACT = {
    'model', 'backend', 'precision', 'device', 'width', 'height', 'batch', 'engine_ms', 'end_to_end_ms', 'fps',
    'peak_memory_mb',
}


def test_enet_segnet_and_their_peer_are_measured_and_written(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tables = tmp_path / 'b.json', tmp_path / 'b.md'
    code = main(['benchmark', '--model', str(small_model), '--sizes', '96x64', '--backends', 'openvino', 'torch-eager',
                 '--precisions', 'fp32', 'fp16', '--batch', '1', '2', '--seconds', '0.05',
                 '--profile', '--json', str(out), '--markdown', str(tables)])
    assert code == 0
    result = json.loads(out.read_text())
    rows = {(row['model'], row['backend'], row['batch']): row for row in result['rows']}
    assert set(rows) == {(model, backend, batch) for model in ('small', 'segnet_untrained')
                         for backend in ('openvino', 'torch-eager') for batch in (1, 2)}
    for row in rows.values():
        assert set(row) >= CONTRACT
        assert (row['width'], row['height'], row['device']) == (96, 64, 'cpu')
        assert 0 < row['end_to_end_ms'] <= row['end_to_end_p99_ms'] and 0 < row['engine_ms'] <= row['engine_p99_ms']
        assert row['fps'] == pytest.approx(1e3 * row['batch'] / row['end_to_end_ms'])
        assert row['runs'] >= 1
    # 29 M weights more, in float32
    large, small = (rows[model, 'torch-eager', 1]['peak_memory_mb'] for model in ('segnet_untrained', 'small'))
    assert large > small + 90
    assert rows['small', 'openvino', 1]['times_eager'] > 0
    assert rows['small', 'torch-eager', 1]['times_eager'] is None
    assert rows['segnet_untrained', 'openvino', 1]['times_eager'] is None
    assert {floor['row']['model'] for floor in result['floors']} == {'small', 'segnet_untrained'}
    assert all(floor['arithmetic_ms'] > 0 and floor['traffic_ms'] > 0 for floor in result['floors'])
    (operations,) = result['profiles'].values()
    assert 'Convolution' in operations[0][0] and operations[0][2] > 0
    assert {(case['backend'], case['precision']) for case in result['not_measured']} == {('openvino', 'fp16')}
    assert all('fp16 is not supported by this CPU' in case['reason'] for case in result['not_measured'])
    printed = capsys.readouterr().out
    assert printed == tables.read_text()
    assert '| small (ENet) | 11 | 3.49 (3.83) |' in printed and '| SegNet / ENet |' in printed


def test_what_the_memory_does_not_suffice_for_is_a_dash(small_model: Path, tmp_path: Path) -> None:
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


def test_what_lacks_at_one_size_is_measured_at_another(small_model: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('nncf')
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    write_image(tmp_path / 'images' / 'a.png', draw_scene(0, 96, 64)[0])
    create_engine(read_model(small_model), (96, 64), 'openvino', 'int8', calibration=tmp_path / 'images')
    assert main(['benchmark', '--model', str(small_model), '--no-segnet', '--sizes', '64x64', '96x64',
                 '--backends', 'openvino', '--precisions', 'int8', '--seconds', '0.05',
                 '--json', str(tmp_path / 'b.json')]) == 0
    result = json.loads((tmp_path / 'b.json').read_text())
    assert [row['width'] for row in result['rows']] == [96]
    assert [case['width'] for case in result['not_measured']] == [64]


def test_a_process_that_is_killed_is_told_and_not_waited_for(small_model: Path) -> None:
    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.05)
        children[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(OutOfMemoryError, match='ended by the system'):  # which kills in the same way
        measure(Case(small_model, 'openvino', 'fp32', (96, 64), 1, 1000, False))


def test_a_robots_way_in_measures_too(small_model: Path, tmp_path: Path) -> None:
    script = ROOT / 'scripts' / 'lib' / 'enet'  # what ros2 run starts
    done = subprocess.run(
        [sys.executable, script, 'benchmark', '--model', str(small_model), '--no-segnet', '--sizes', '96x64',
         '--seconds', '0.05', '--backends', 'openvino', '--precisions', 'fp32'],
        capture_output=True, text=True, cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert '| small | openvino | fp32 | cpu |' in done.stdout


@pytest.mark.skipif(find_spec('tensorrt') is not None, reason='needs a machine without TensorRT')
def test_a_backend_that_is_not_installed_is_refused_by_the_name_of_its_package(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['benchmark', '--model', str(small_model), '--backends', 'openvino', 'tensorrt']) == 1
    assert capsys.readouterr().err == 'enet: backend tensorrt is not installed: pip install tensorrt\n'


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--sizes', '0x360'], '0x360: width and height must be positive multiples of 8'),
    (['--batch', '0'], '"0" is no whole number from 1 on'),
    (['--seconds', 'nan'], '"nan" is no number above 0'),
    (['--backends', 'onnx'], "invalid choice: 'onnx'"),
], ids=str)
def test_bad_usage_ends_with_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['benchmark', *arguments])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_two_files_of_one_name_are_refused(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = tmp_path / small_model.name
    same.write_bytes(small_model.read_bytes())
    assert main(['benchmark', '--model', str(small_model), str(same)]) == 1
    assert 'two model files have the same name' in capsys.readouterr().err

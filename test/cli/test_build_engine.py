from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from recordings import write_mcap

from enet_ros.cli.build_engine import read_calibration
from enet_ros.cli.main import main
from enet_ros.engines.int8 import MAXIMUM_IMAGES, PACKAGES
from enet_ros.errors import EnetError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene


def _write_scenes(folder: Path, count: int, size: tuple[int, int] = (96, 64)) -> Path:
    for number in range(count):
        write_image(folder / f'{number:03}.png', draw_scene(number, *size)[0])
    return folder


def _enet(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `enet` where TensorRT is not installed, whatever this machine has."""
    script = "import sys; sys.modules['tensorrt'] = None; from enet_ros.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, '-c', script, *arguments], capture_output=True, text=True,
                          env={**os.environ, **variables})


@pytest.mark.parametrize('backend', ['torch', 'torch-compile', 'openvino'])
def test_a_backend_with_nothing_to_build_says_so(
    backend: str, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['build-engine', '--model', str(small_model), '--backend', backend]) == 0
    assert f'backend {backend} has nothing to build' in capsys.readouterr().out


@pytest.mark.skipif(any(find_spec(package) is None for package in PACKAGES), reason=f'needs {", ".join(PACKAGES)}')
def test_int8_is_built_once_and_found_by_other_commands(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    images = str(_write_scenes(tmp_path / 'images', 3, (200, 100)))
    build = ['build-engine', '--model', str(small_model), '--backend', 'openvino', '--precision', 'int8']
    assert main(build) == 1
    assert '--calibration' in capsys.readouterr().err
    # untrained weights, quantised with three drawings, still keep most labels
    assert main([*build, '--calibration', images]) == 0
    captured = capsys.readouterr()
    assert captured.out == 'openvino int8 at 96x64 is ready\n'
    (graph,) = (tmp_path / 'cache').glob('*int8*.graph')
    # once: the log handlers of the commands before are gone
    assert captured.err.count('checked: ') == 1 and str(graph) in captured.err
    segment = ['segment', images, '--out', str(tmp_path / 'out'), '--model', str(small_model)]
    assert main([*segment, '--backend', 'openvino', '--precision', 'int8']) == 0


def test_a_missing_backend_is_one_line_with_the_remedy(small_model: Path) -> None:
    done = _enet('build-engine', '--model', str(small_model), '--backend', 'tensorrt')
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'backend tensorrt is not installed' in line and 'pip install tensorrt' in line


def test_the_cache_is_checked_before_the_long_build(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    done = _enet('build-engine', '--model', str(small_model), '--backend', 'tensorrt',
                 ENET_CACHE=str(tmp_path / 'file' / 'cache'))
    assert done.returncode == 1 and 'cannot write' in done.stderr and 'not installed' not in done.stderr


def test_calibration_images_are_only_for_int8(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['build-engine', '--model', str(small_model), '--calibration', str(tmp_path)]) == 2
    assert '--calibration is for --precision int8, not auto' in capsys.readouterr().err


@pytest.mark.parametrize('folder', ['', 'images', 'train/images'], ids=['folder', 'split', 'dataset'])
def test_calibration_images_have_the_size_of_the_network_in_rgb(folder: str, tmp_path: Path) -> None:
    _write_scenes(tmp_path / folder, 2, (192, 128))
    images = read_calibration(tmp_path, (96, 64))
    assert [image.shape for image in images] == [(64, 96, 3)] * 2
    blue, _, red = draw_scene(0, 192, 128)[0].reshape(-1, 3).mean(0)
    assert abs(images[0][..., 0].mean() - red) < 1 and abs(images[0][..., 2].mean() - blue) < 1 and abs(red - blue) > 2


def test_calibration_images_are_fitted_as_the_network_gets_them(tmp_path: Path) -> None:
    write_image(tmp_path / 'a.png', np.full((64, 32, 3), 200, np.uint8))
    whole, letterbox, crop = (read_calibration(tmp_path, (96, 64), mode)[0] for mode in ('stretch', 'letterbox', 'crop'))
    assert (whole == 200).all() and (crop == 200).all()
    assert (letterbox[:, 32:64] == 200).all() and not (letterbox[:, [0, 95]] == 200).any()


def test_many_calibration_images_are_reduced_evenly(tmp_path: Path) -> None:
    for number in range(MAXIMUM_IMAGES + 10):
        write_image(tmp_path / f'{number:04}.png', draw_scene(0, 8, 8)[0])
    assert MAXIMUM_IMAGES / 2 <= len(read_calibration(tmp_path, (8, 8))) <= MAXIMUM_IMAGES


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=str(tmp_path)):
        read_calibration(tmp_path, (8, 8))


def test_an_incomplete_recording_calibrates_with_the_images_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_mcap(tmp_path / 'drive.mcap', 5, finish=False, chunk_size=None)
    assert len(read_calibration(path, (96, 64))) == 5
    assert 'incomplete recording' in caplog.text

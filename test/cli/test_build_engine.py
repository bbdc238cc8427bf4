from __future__ import annotations

import logging
from pathlib import Path

import pytest

from enet_ros.cli.main import main
from enet_ros.engines import engine as engine_module


@pytest.mark.parametrize('backend', ['torch', 'torch-compile', 'openvino'])
def test_a_backend_without_engines_says_so(backend: str, small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['build-engine', '--model', str(small_model), '--backend', backend]) == 0
    assert capsys.readouterr().out == f'backend {backend} has nothing to build ahead of time in auto\n'


def test_what_cannot_be_built_is_one_line(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = engine_module.find_spec
    monkeypatch.setattr(engine_module, 'find_spec', lambda name: None if name == 'tensorrt' else find_spec(name))
    build = ['build-engine', '--model', str(small_model), '--backend', 'tensorrt']
    assert main(build) == 1
    assert capsys.readouterr().err == (
        'enet: backend tensorrt is not installed: pip install tensorrt, or choose backend auto\n'
    )
    assert main([*build, '--calibration', str(tmp_path)]) == 1
    assert '--calibration is for --precision int8, not auto' in capsys.readouterr().err
    # before the build, which takes long
    (tmp_path / 'file').touch()
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'file' / 'cache'))
    assert main(build) == 1
    assert 'cannot write' in capsys.readouterr().err


def test_the_command_line_shows_on_stderr_what_the_package_logs(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from enet_ros.images.files import write_image
    from enet_ros.images.synthetic import draw_scene

    find_spec = engine_module.find_spec
    monkeypatch.setattr(engine_module, 'find_spec', lambda name: None if name == 'tensorrt' else find_spec(name))
    monkeypatch.setattr(engine_module, 'backends_by_speed', lambda: ['tensorrt', 'torch'])
    write_image(tmp_path / 'a.png', draw_scene(0, 96, 64)[0])
    for _ in range(2):  # a handler that stays would print the second time twice
        assert main(['segment', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out'), '--model', str(small_model)]) == 0
        error = capsys.readouterr().err
        assert error.count('enet: backend tensorrt is passed over: backend tensorrt is not installed') == 1
    assert not logging.getLogger('enet_ros').handlers

"""The `enet` command as a user runs it: its own process, its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from command import ENET, enet, enet_process, refused
from helpers import make_model

from enet_ros.exit_codes import ExitCode
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model

COMMANDS = ('segment', 'convert', 'train', 'evaluate', 'benchmark', 'build-engine', 'info')


def test_every_command_has_help() -> None:
    assert enet_process('--help').stdout.startswith('usage: enet ')
    for command in COMMANDS:
        assert f'usage: enet {command}' in enet(command, '--help').stdout


def test_help_explains_every_exit_code() -> None:
    text = ' '.join(enet('--help').stdout.split())
    for code in ExitCode:
        assert f' {code.value} ' in text.partition('Exit codes:')[2]


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = enet_process('info', tmp_path / 'none.safetensors', code=1)
    assert not done.stdout and done.stderr.startswith('enet: ') and done.stderr.count('\n') == 1
    assert 'none.safetensors' in done.stderr


def test_bad_usage_is_one_line_and_exit_code_2() -> None:
    done = enet_process(code=2)
    assert 'COMMAND' in done.stderr and done.stderr.count('\n') == 1 and 'enet --help' in done.stderr
    assert '--out' in refused('segment', 'x.png', code=2)
    assert 'kitti' in refused('convert', 'kitti', '.', '.', code=2)


def test_a_folder_that_cannot_be_written_is_one_line(small_model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / 'in.png', draw_scene(1, 48, 32)[0])
    (tmp_path / 'file').write_text('')
    line = refused('segment', tmp_path / 'in.png', '--out', tmp_path / 'file', '--model', small_model)
    assert str(tmp_path / 'file') in line


def test_a_closed_output_is_not_an_error(small_model: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'}
    process = subprocess.Popen([*ENET, 'info', str(small_model)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b'' and process.wait() == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_command_is_one_line_and_exit_code_130(number: signal.Signals, tmp_path: Path) -> None:
    write_image(tmp_path / 'images' / '0.png', draw_scene(0, 480, 360)[0])
    for index in range(1, 500):
        (tmp_path / 'images' / f'{index}.png').symlink_to('0.png')
    process = subprocess.Popen(
        [*ENET, 'segment', str(tmp_path / 'images'), '--out', str(tmp_path / 'out')], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )
    while not list((tmp_path / 'out').glob('labels/*')):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() == 130
    assert process.stderr is not None and process.stderr.read().splitlines()[-1] == 'enet: interrupted'
    assert len(list((tmp_path / 'out' / 'labels').iterdir())) < 500
    assert not list((tmp_path / 'out').rglob('.enet_ros-*'))  # temporary files


START = '''
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            sys.argv.pop(1)
            os.kill(os.getpid(), signal.Signals[sys.argv.pop(1)])
sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))
from enet_ros.cli.start import main
sys.exit(main())
'''


@pytest.mark.parametrize('module', ['cv2', 'enet_ros.cli.segment'])
@pytest.mark.parametrize(('handler', 'number', 'code'), [
    ('default_int_handler', 'SIGINT', -signal.SIGINT), ('SIG_IGN', 'SIGINT', 0),
    ('default_int_handler', 'SIGTERM', -signal.SIGTERM),
])
def test_a_signal_during_the_start_prints_no_traceback(module: str, handler: str, number: str, code: int) -> None:
    command = [sys.executable, '-c', START, handler, module, number, '--version']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code and not done.stderr


def test_convert_train_evaluate_and_segment_work_in_sequence(tmp_path: Path) -> None:
    for split, count in (('train', 4), ('val', 2)):
        for number in range(count):
            image, labels = draw_scene(number * 5, 96, 64)
            write_image(tmp_path / 'src' / split / f'{split}{number}.png', image)
            write_image(tmp_path / 'src' / f'{split}annot' / f'{split}{number}.png', labels)
    assert '4 train, 2 val' in enet_process('convert', 'camvid', tmp_path / 'src', tmp_path / 'data').stdout
    stage = ('{network: encoder, epochs: 1, learning_rate: 0.001, crop: [48, 32], scale: [0.5, 1], rotation: 0, '
             'loss: cross_entropy, class_weight_constant: 1.2')
    stages = f'stages=[{stage}, name: encoder}}, {stage.replace("encoder", "enet")}, name: decoder}}]'
    changes = ('size=[96, 64]', 'splits=[train]', 'batch_size=2', 'warmup_epochs=0', 'precision=32-true', stages)
    train = ('train', '--data', tmp_path / 'data', '--out', tmp_path / 'run',
             *(part for change in changes for part in ('--set', change)))
    enet_process(*train)
    model = tmp_path / 'run' / 'model.safetensors'
    enet_process('evaluate', '--model', model, '--data', tmp_path / 'data', '--backend', 'torch',
                 '--json', tmp_path / 'r.json')
    # the metrics in the model file are those that evaluate measures
    measured = json.loads((tmp_path / 'r.json').read_text())
    assert read_model(model).info.metrics['val']['mean_iou'] == pytest.approx(measured['mean_iou'])
    assert (tmp_path / 'run' / 'model.onnx').is_file()
    assert cv2.imread(str(tmp_path / 'run' / 'curves.png')) is not None
    assert json.loads((tmp_path / 'run' / 'report' / 'report.json').read_text())['confusion'] == measured['confusion']
    assert list((tmp_path / 'run' / 'decoder').glob('tensorboard/version_0/events*'))
    # the recipe that was used, with its changes
    assert 'size: [96, 64]' in (tmp_path / 'run' / 'recipe.yaml').read_text()
    enet_process('segment', tmp_path / 'src' / 'val', '--out', tmp_path / 'out', '--model', model)
    assert 'add --resume' in refused(*train)
    # the recipe is read from the run folder
    assert str(model) in enet_process(*train[:5], '--resume').stdout


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'cache').write_text('')
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    write_image(tmp_path / 'x.png', draw_scene(1, 48, 32)[0])
    model = make_model(tmp_path / 'm.safetensors')
    done = enet('segment', tmp_path / 'x.png', '--out', tmp_path / 'out', '--model', model, '--backend', 'openvino')
    assert 'cannot write' in done.stderr and 'cache' in done.stderr and (tmp_path / 'out' / 'labels' / 'x.png').is_file()

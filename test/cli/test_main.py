"""The command as a user runs it: a process of its own, with its exit code and what it prints."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import make_model

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.evaluation.evaluate import trained_on
from enet_ros.images.files import read_labels, write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.model_file import read_model, write_model

Make = Callable[..., Dataset]
ENET = Path(sys.executable).with_name('enet')


def enet(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(ENET), *map(str, arguments)], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == code, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    return done


def refused(*arguments: object, code: int = 1) -> str:
    """Return the one line that the command prints when it refuses."""
    done = enet(*arguments, code=code)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_of_every_command() -> None:
    assert 'segment' in enet('--help').stdout
    for command in ('segment', 'convert', 'train', 'evaluate', 'benchmark', 'build-engine', 'info'):
        assert 'usage: enet ' + command in enet(command, '--help').stdout


def test_segment_writes_labels_and_overlays_of_each_image_in_its_size(small_model: Path, tmp_path: Path) -> None:
    for name, size in (('wide', (200, 60)), ('small', (31, 17))):
        write_image(tmp_path / 'in' / f'{name}.png', draw_scene(1, *size)[0])
    done = enet('segment', tmp_path / 'in', '--out', tmp_path / 'out', '--model', small_model, '--classes', 'Road, Car')
    assert '2 images segmented' in done.stdout
    for name, (width, height) in (('wide', (200, 60)), ('small', (31, 17))):
        labels = cv2.imread(str(tmp_path / 'out' / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        overlay = cv2.imread(str(tmp_path / 'out' / 'overlays' / f'{name}.jpg'))
        assert labels.shape == (height, width) and overlay.shape == (height, width, 3)
        assert set(np.unique(labels)) <= {CAMVID.names.index('Road'), CAMVID.names.index('Car'), VOID}


def test_segment_names_a_damaged_file_and_does_the_others(small_model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / 'in' / 'good.png', draw_scene(1, 48, 32)[0])
    (tmp_path / 'in' / 'bad.png').write_bytes(b'no image')
    done = enet('segment', tmp_path / 'in', '--out', tmp_path / 'out', '--model', small_model, code=1)
    assert 'bad.png is missing, damaged or no image' in done.stderr
    assert '1 images segmented' in done.stdout and '1 failed' in done.stdout
    assert [path.name for path in (tmp_path / 'out' / 'labels').iterdir()] == ['good.png']


def test_segment_overwrites_its_own_results_and_nobody_elses(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset, out = drawn_dataset(), tmp_path / 'out'
    split = dataset.root / 'val'
    before = {path: path.read_bytes() for path in (split / 'labels').iterdir()}
    drawn = refused('segment', split / 'images', '--out', split, '--model', small_model)
    assert f'{min(before)} was not written by "enet segment", or changed since: choose another --out' in drawn
    assert {path: path.read_bytes() for path in (split / 'labels').iterdir()} == before
    for _ in range(2):
        enet('segment', split / 'images', '--out', out, '--model', small_model)
    assert f'{out}/overlays is where results' in refused('segment', out / 'overlays', '--out', out, '--model', small_model)
    corrected = sorted((out / 'labels').iterdir())[1]
    times = corrected.stat()
    write_image(corrected, np.full((64, 96), 3, np.uint8))
    os.utime(corrected, ns=(times.st_atime_ns, times.st_mtime_ns))  # copied with its date, say
    assert f'{corrected} was not written by' in refused('segment', split / 'images', '--out', out, '--model', small_model)
    assert (read_labels(corrected) == 3).all()
    corrected.unlink()
    # what cannot be segmented any more keeps no labels of before
    broken = sorted((split / 'images').iterdir())[0]
    broken.write_bytes(b'no image')
    enet('segment', split / 'images', '--out', out, '--model', small_model, code=1)
    assert [path.stem for path in (out / 'labels').iterdir()] == [path.stem for path in sorted(before)[1:]]
    assert [path.stem for path in (out / 'overlays').iterdir()] == [path.stem for path in sorted(before)[1:]]


def test_segment_does_not_overwrite_one_input_by_another(small_model: Path, tmp_path: Path) -> None:
    for folder in ('a', 'b'):
        write_image(tmp_path / folder / 'x.png', draw_scene(1, 48, 32)[0])
    done = enet('segment', tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'out', '--model', small_model, code=1)
    assert 'would both become x.png' in done.stderr


def test_what_segment_refuses(small_model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / 'in' / 'x.png', draw_scene(1, 48, 32)[0])
    (tmp_path / 'x.mp4').write_bytes(b'no video' * 100)
    image, out = tmp_path / 'in' / 'x.png', ('--out', tmp_path / 'out')
    assert 'x.mp4 is neither an image' in refused('segment', tmp_path / 'x.mp4', *out)
    assert 'no such input' in refused('segment', tmp_path / 'none', *out)
    assert 'no model file' in refused('segment', image, *out, '--model', tmp_path / 'none')
    assert 'damaged' in refused('segment', image, *out, '--model', image)
    assert '"Raod"' in refused('segment', image, *out, '--model', small_model, '--classes', 'Raod')
    assert not (tmp_path / 'out').exists()


def test_bad_usage_is_one_line_and_exit_code_2() -> None:
    assert 'COMMAND' in refused(code=2)
    assert 'tensorflow' in refused('evaluate', '--data', '.', '--backend', 'tensorflow', code=2)
    assert 'like 640x360' in refused('evaluate', '--data', '.', '--size', 'big', code=2)
    assert '--out' in refused('segment', 'x.png', code=2)
    assert 'multiples of 8' in refused('segment', 'x.png', '--out', 'out', '--size', '100x64', code=2)
    assert '"2" is no share' in refused('segment', 'x.png', '--out', 'out', '--alpha', '2', code=2)
    assert 'kitti' in refused('convert', 'kitti', '.', '.', code=2)


def test_evaluate_prints_and_writes_the_same_figures(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=3)
    done = enet('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'torch', '--json',
                tmp_path / 'r.json')
    report = json.loads((tmp_path / 'r.json').read_text())
    assert report['images'] == 3 and report['split'] == 'val' and report['backend'] == 'torch'
    assert report['sha256'] == read_model(small_model).sha256
    assert f'mean IoU      {100 * report["mean_iou"]:6.1f}' in done.stdout
    confusion = np.array(report['confusion'])
    assert confusion.sum() == 3 * 96 * 64
    assert report['global_accuracy'] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_evaluate_tells_when_a_model_was_trained_on_what_it_measures(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset, model = drawn_dataset(), read_model(small_model)
    seen = {'sha256': '0', 'dataset': dataset.name, 'recipe': {'splits': ['train', 'val'], 'hold_out': []}}
    for name, change in {
        'seen': {'dataset': dataset.name, 'recipe': seen['recipe']},
        'begun with one': {'begun_with': {**seen, 'begun_with': {}}},
        'begun with one that began so': {'begun_with': {**seen, 'dataset': 'other', 'begun_with': seen}},
    }.items():
        write_model(tmp_path / f'{name}.safetensors', dataclasses.replace(model.info, **change), model.weights)
        done = enet('evaluate', '--model', tmp_path / f'{name}.safetensors', '--data', dataset.root, '--backend', 'torch')
        assert ' on val (trained on) of drawn: ' in done.stdout, name
    held = {'splits': ['train', 'val'], 'hold_out': ['val']}
    for name, change in {
        'held out': {'dataset': dataset.name, 'recipe': held}, 'another': {'recipe': seen['recipe']}, 'unseen': {},
    }.items():
        info = dataclasses.replace(model.info, **change)
        assert not trained_on(info, dataset, dataset.samples('val')), name


def test_evaluate_refuses_what_it_cannot_measure(small_model: Path, drawn_dataset: Make) -> None:
    dataset = drawn_dataset()
    first, second = dataset.samples('val')
    for sample in (first, second):
        write_image(sample.labels_path, np.full((64, 96), VOID, np.uint8))
    evaluate = ('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'torch')
    assert 'are void: there is nothing to measure' in enet(*evaluate, code=1).stderr
    first.image_path.unlink()
    assert f'{first.labels_path} has no image in' in refused(*evaluate)


def test_a_reader_that_has_seen_enough_is_no_error(small_model: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'}
    process = subprocess.Popen([str(ENET), 'info', str(small_model)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    process.stdout.close()
    assert process.stderr.read() == b'' and process.wait() == 0


def test_a_report_holds_figures_table_and_picture(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    dataset = drawn_dataset()
    done = enet('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'torch', '--json',
                tmp_path / 'r.json', '--report', tmp_path / 'new' / 'report')
    report = tmp_path / 'new' / 'report'
    assert sorted(path.name for path in report.iterdir()) == ['confusion.png', 'report.json', 'table.md']
    assert (report / 'report.json').read_text() == (tmp_path / 'r.json').read_text()
    heading, _, *table = (report / 'table.md').read_text().splitlines()
    assert heading == done.stdout.splitlines()[0]
    # the same figures as in the terminal
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table]
    assert cells[1] == ['---', '---:', '---:']
    printed = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [' '.join(row).split() for row in cells[:1] + cells[2:]] == printed
    assert cv2.imread(str(report / 'confusion.png')) is not None


def test_evaluate_refuses_what_it_could_not_write_before_it_begins(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    evaluate = ('evaluate', '--model', small_model, '--data', drawn_dataset().root, '--backend', 'torch')
    (tmp_path / 'file').write_text('')
    # one line each: the progress of an evaluation would be more
    assert 'file/r.json' in refused(*evaluate, '--json', tmp_path / 'file' / 'r.json')
    assert 'file/report.json' in refused(*evaluate, '--report', tmp_path / 'file')
    assert 'has 11 classes (Sky' in refused(*evaluate, '--export', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_report_without_matplotlib_is_refused_before_the_evaluation(
    drawn_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = str(drawn_dataset().root)
    capfd.readouterr()
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert main(['evaluate', '--data', data, '--report', str(tmp_path / 'out')]) == 1
    printed = capfd.readouterr()
    assert 'pip install matplotlib' in printed.err and printed.err.count('\n') == 1 and not printed.out
    assert not (tmp_path / 'out').exists()


def test_what_evaluate_refuses(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    assert 'no dataset.yaml' in refused('evaluate', '--data', tmp_path, '--model', small_model)
    assert 'choose a split of train, val' in refused('evaluate', '--data', dataset.root, '--split', 'x')
    (dataset.root / 'dataset.yaml').write_text((dataset.root / 'dataset.yaml').read_text().replace('Sky', 'Heaven'))
    assert 'Heaven' in refused('evaluate', '--data', dataset.root, '--model', small_model)


def test_info_shows_what_a_model_file_holds(small_model: Path, tmp_path: Path) -> None:
    done = enet('info', small_model, '--json', tmp_path / 'i.json')
    assert '365007 parameters, network enet, classes 11' in done.stdout
    assert '96x64' in done.stdout and 'Bicyclist' in done.stdout
    assert json.loads((tmp_path / 'i.json').read_text())['sha256'] == read_model(small_model).sha256


def test_info_draws_and_lists_the_slopes(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    enet('info', small_model, '--prelu-plot', tmp_path / 's.png', '--json', tmp_path / 'i.json')
    assert cv2.imread(str(tmp_path / 's.png')) is not None
    slopes = json.loads((tmp_path / 'i.json').read_text())['slopes']
    assert len(slopes) == 82 and slopes[0]['layer'] == 'encoder.initial.activation'
    values = read_model(small_model).weights['encoder.initial.activation.weight']
    assert [slopes[0][key] for key in ('mean', 'min', 'max')] == pytest.approx([values.mean(), values.min(), values.max()])


def test_convert_and_train_make_a_model_that_evaluate_and_segment_take(tmp_path: Path) -> None:
    for split, count in (('train', 4), ('val', 2)):
        for number in range(count):
            image, labels = draw_scene(number * 5, 96, 64)
            write_image(tmp_path / 'src' / split / f'{split}{number}.png', image)
            write_image(tmp_path / 'src' / f'{split}annot' / f'{split}{number}.png', labels)
    assert '4 train, 2 val' in enet('convert', 'camvid', tmp_path / 'src', tmp_path / 'data').stdout
    stage = '{network: encoder, epochs: 1, learning_rate: 0.001, crop: [48, 32], scale: [0.5, 1], class_weight_constant: 1.2'
    stages = f'stages=[{stage}, name: encoder}}, {stage.replace("encoder", "enet")}, name: decoder}}]'
    changes = ('size=[96, 64]', 'splits=[train]', 'batch_size=2', 'warmup_epochs=0', 'precision=32-true', stages)
    train = ('train', '--data', tmp_path / 'data', '--out', tmp_path / 'run',
             *(part for change in changes for part in ('--set', change)))
    enet(*train)
    model = tmp_path / 'run' / 'model.safetensors'
    enet('evaluate', '--model', model, '--data', tmp_path / 'data', '--backend', 'torch', '--json', tmp_path / 'r.json')
    # what training wrote into the file is what evaluate measures
    measured = json.loads((tmp_path / 'r.json').read_text())
    assert read_model(model).info.metrics['val']['mean_iou'] == pytest.approx(measured['mean_iou'])
    assert (tmp_path / 'run' / 'model.onnx').is_file()
    assert cv2.imread(str(tmp_path / 'run' / 'curves.png')) is not None
    assert json.loads((tmp_path / 'run' / 'report' / 'report.json').read_text())['confusion'] == measured['confusion']
    assert list((tmp_path / 'run' / 'decoder').glob('tensorboard/version_0/events*'))
    # the recipe as it was used, to be read, changed and used again
    assert 'size: [96, 64]' in (tmp_path / 'run' / 'recipe.yaml').read_text()
    enet('segment', tmp_path / 'src' / 'val', '--out', tmp_path / 'out', '--model', model)
    assert 'add --resume' in refused(*train)
    # by the recipe that lies there: nothing needs to be said again
    assert str(model) in enet(*train[:5], '--resume').stdout


def test_what_train_refuses(drawn_dataset: Make, tmp_path: Path) -> None:
    assert 'no dataset.yaml' in refused('train', '--data', tmp_path, '--out', tmp_path / 'run')
    dataset = drawn_dataset()
    assert 'no recipe for dataset "drawn"' in refused('train', '--data', dataset.root, '--out', tmp_path / 'run')
    assert 'no recipe' in refused('train', '--data', dataset.root, '--out', tmp_path / 'run', '--config', tmp_path / 'none')


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'cache').write_text('')
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    write_image(tmp_path / 'x.png', draw_scene(1, 48, 32)[0])
    model = make_model(tmp_path / 'm.safetensors')
    line = refused('segment', tmp_path / 'x.png', '--out', tmp_path / 'out', '--model', model, '--backend', 'openvino')
    assert 'cannot write' in line and 'cache' in line

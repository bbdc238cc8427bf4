from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import enet, refused

from enet_ros.datasets.prepared import Dataset
from enet_ros.evaluation.evaluate import trained_on
from enet_ros.images.files import write_image
from enet_ros.labels import VOID
from enet_ros.network.model_file import read_model, write_model

Make = Callable[..., Dataset]


def test_printed_and_written_figures_are_the_same(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
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


def test_pixels_outside_of_a_crop_are_misses(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset(val=2, width=128)
    reports = {}
    for mode in ('stretch', 'letterbox', 'crop'):
        done = enet('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'torch', '--resize-mode', mode,
                    '--json', tmp_path / 'r.json')
        assert f' at 96x64 ({mode}), ' in done.stdout
        reports[mode] = json.loads((tmp_path / 'r.json').read_text())
        assert reports[mode]['resize_mode'] == mode
    confusion = {mode: np.array(report['confusion']) for mode, report in reports.items()}
    # 16 columns on each side are outside; each image has 128x64 pixels with ground truth
    assert {mode: counts[:, -1].sum() for mode, counts in confusion.items()} == {
        'stretch': 0, 'letterbox': 0, 'crop': 2 * 2 * 16 * 64,
    }
    assert {counts.sum() for counts in confusion.values()} == {2 * 128 * 64}
    assert (confusion['letterbox'] != confusion['stretch']).any()


def test_evaluate_says_when_the_model_was_trained_on_the_measured_images(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset, model = drawn_dataset(), read_model(small_model)
    seen = {'sha256': '0', 'dataset': dataset.name, 'recipe': {'splits': ['train', 'val'], 'hold_out': []}}
    for name, change in {
        'seen': {'dataset': dataset.name, 'recipe': seen['recipe']},
        'started from one': {'begun_with': {**seen, 'begun_with': {}}},
        'started from one that started from one': {'begun_with': {**seen, 'dataset': 'other', 'begun_with': seen}},
    }.items():
        write_model(tmp_path / f'{name}.safetensors', dataclasses.replace(model.info, **change), model.weights)
        done = enet('evaluate', '--model', tmp_path / f'{name}.safetensors', '--data', dataset.root, '--backend', 'torch')
        assert ' on val (trained on) of drawn: ' in done.stdout, name
    held = {'splits': ['train', 'val'], 'hold_out': ['val']}
    for name, change in {
        'held out': {'dataset': dataset.name, 'recipe': held}, 'another': {'recipe': seen['recipe']}, 'unseen': {},
    }.items():
        info = dataclasses.replace(model.info, **change)
        assert not trained_on(info, dataset.name, [sample.key for sample in dataset.samples('val')]), name


def test_void_labels_and_labels_without_images_are_refused(small_model: Path, drawn_dataset: Make) -> None:
    dataset = drawn_dataset()
    first, second = dataset.samples('val')
    for sample in (first, second):
        write_image(sample.labels_path, np.full((64, 96), VOID, np.uint8))
    evaluate = ('evaluate', '--model', small_model, '--data', dataset.root, '--backend', 'torch')
    assert 'are void: there is nothing to measure' in enet(*evaluate, code=1).stderr
    first.image_path.unlink()
    assert f'{first.labels_path} has no image in' in refused(*evaluate)


def test_a_report_has_figures_table_and_confusion_matrix(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
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


def test_files_that_cannot_be_written_are_refused_before_the_evaluation(
    small_model: Path, drawn_dataset: Make, tmp_path: Path
) -> None:
    evaluate = ('evaluate', '--model', small_model, '--data', drawn_dataset().root, '--backend', 'torch')
    (tmp_path / 'file').write_text('')
    # one line each: the progress of an evaluation would be more
    assert 'file/r.json' in refused(*evaluate, '--json', tmp_path / 'file' / 'r.json')
    assert 'file/report.json' in refused(*evaluate, '--report', tmp_path / 'file')
    assert 'has 11 classes (Sky' in refused(*evaluate, '--export', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_missing_split_or_other_classes_are_refused(small_model: Path, drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    assert 'no dataset.yaml' in refused('evaluate', '--data', tmp_path, '--model', small_model)
    assert 'choose a split of train, val' in refused('evaluate', '--data', dataset.root, '--split', 'x')
    (dataset.root / 'dataset.yaml').write_text((dataset.root / 'dataset.yaml').read_text().replace('Sky', 'Heaven'))
    assert 'Heaven' in refused('evaluate', '--data', dataset.root, '--model', small_model)

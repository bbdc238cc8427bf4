from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cv2
import pytest
from helpers import make_model
from recipes import one_stage

from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.network.model_file import read_model, write_model
from enet_ros.segmenter import Segmenter
from enet_ros.training.finish import FinishedRun, finish


def test_a_finished_model_names_its_results_on_the_validation_samples(dataset: Dataset, finished: FinishedRun) -> None:
    model = read_model(finished.model)
    measured = evaluate(Segmenter(model, EngineSpec('torch', 'fp32')), dataset.samples('val'))
    assert model.info.metrics == {'val': json.loads(json.dumps(measured.summary()))}
    assert finished.evaluation is not None and finished.evaluation.confusion.tolist() == measured.confusion.tolist()
    assert 'on val of drawn: 2 images' in finished.heading


def test_a_finished_run_has_report_curves_and_graph(finished: FinishedRun) -> None:
    run, model = finished.model.parent, read_model(finished.model)
    report = json.loads((run / 'report' / 'report.json').read_text())
    assert report['split'] == 'val' and report['mean_iou'] == model.info.metrics['val']['mean_iou']
    assert (run / 'report' / 'table.md').read_text().startswith(finished.heading)
    for chart in ('curves.png', 'report/confusion.png'):
        assert cv2.imread(str(run / chart)) is not None
    assert model.graph['sha256'] == sha256((run / 'model.onnx').read_bytes()).hexdigest()
    assert list((run / 'decoder').glob('tensorboard/version_0/events*'))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / 'model.safetensors')


def test_results_on_held_out_samples_name_them(dataset: Dataset, model: Path) -> None:
    finished = finish(model, dataset, one_stage(splits=('train', 'val'), hold_out=('train0', 'val')))
    assert finished.evaluation is not None and finished.evaluation.images == 3
    assert list(read_model(model).info.metrics) == ['train0, val of train+val']


def test_results_on_samples_of_the_starting_weights_say_so(dataset: Dataset, tmp_path: Path) -> None:
    first = read_model(make_model(tmp_path / 'first.safetensors'))
    begun = {'sha256': first.sha256, 'dataset': 'drawn', 'recipe': {'splits': ['val']}}
    write_model(tmp_path / 'model.safetensors', replace(first.info, dataset='drawn', begun_with=begun), first.weights)
    finished = finish(tmp_path / 'model.safetensors', dataset, one_stage())
    assert 'on val (trained on) of drawn' in finished.heading


def test_without_validation_samples_there_are_no_results(dataset: Dataset, model: Path) -> None:
    finished = finish(model, dataset, one_stage(splits=('train', 'val')))
    assert finished.evaluation is None and not read_model(model).info.metrics
    assert not (model.parent / 'report').exists() and model.with_suffix('.onnx').is_file()


def test_a_process_that_is_not_the_first_writes_nothing(
    dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RANK', '1')
    assert finish(model, dataset, one_stage()) == FinishedRun(model)
    assert list(model.parent.glob('model.*')) == [model]

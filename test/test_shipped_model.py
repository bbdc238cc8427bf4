"""The model that the package ships."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.writing import write_dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.labels import CAMVID
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network
from enet_ros.segmenter import Segmenter
from enet_ros.training.recipe import Recipe, read_recipe

MEASURED = 'val (trained on)'


def _recorded(recipe: Recipe) -> dict[str, Any]:
    """Return `recipe` as a run records it that is older than gamma, rotation and loss. They must be off."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert fields['jitter'].pop('gamma') == 0
    for stage in fields['stages']:
        assert (stage.pop('rotation'), stage.pop('loss')) == (0, 'cross_entropy')
    return fields


def test_the_recipes_of_the_package_trained_it(shipped_model: Path) -> None:
    info = read_model(shipped_model).info
    assert info.labels == CAMVID and info.training_size == (480, 360)
    # as in the model card: seven runs, each started with the model of the one before; the last run first
    both = 'splits=[train, val]'
    last = ['stages.finetune.epochs=70', 'warmup_epochs=2', 'validate_every=10', 'stages.finetune.scale=[0.75, 2.5]',
            'precision=bf16-mixed']
    planned = ['stages.finetune.epochs=500', 'validate_every=25', 'precision=bf16-mixed']
    annealing = ['stages.finetune.epochs=20', 'stages.finetune.learning_rate=5e-4', 'warmup_epochs=1', 'validate_every=1',
                 'precision=bf16-mixed']
    trainings = [
        ('finetune.yaml', [both, 'precision=bf16-mixed', 'stages.finetune.epochs=70']),
        ('finetune.yaml', [both, 'precision=32-true', 'stages.finetune.class_weight_constant=1.02']),
        ('camvid_cpu.yaml', ['precision=bf16-mixed']),
    ]
    stopped, annealed, on_gpu, *before = (model['recipe'] for model in info.lineage())
    assert stopped['stages'][0].pop('epochs') == '40.3 of 500'
    stopped['stages'][0]['epochs'] = 500
    for recipe, changes in ((info.recipe, last), (stopped, planned), (annealed, annealing)):
        expected = read_recipe(ROOT / 'config' / 'train' / 'camvid_long.yaml', changes)
        assert recipe == json.loads(json.dumps(dataclasses.asdict(expected)))
    assert on_gpu['stages'][0]['epochs'] == '400 of 658'  # by another program, with names of its own
    assert before == [
        _recorded(read_recipe(ROOT / 'config' / 'train' / name, changes)) for name, changes in trainings
    ]


def test_the_model_card_has_the_figures_of_the_file(shipped_model: Path) -> None:
    metrics = read_model(shipped_model).info.metrics[MEASURED]
    card = (ROOT / 'models' / 'README.md').read_text()
    assert f'**{100 * metrics["mean_iou"]:.1f}** | **{100 * metrics["class_average"]:.1f}**' in card
    assert f'Global accuracy {100 * metrics["global_accuracy"]:.1f} %' in card
    for name, values in metrics['classes'].items():
        assert f'| {name} | {100 * values["iou"]:.1f} | {100 * values["accuracy"]:.1f} |' in card


def test_the_graph_beside_it_belongs_to_it(
    shipped_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    create_engine(read_model(shipped_model), EngineSpec('openvino'))
    assert not (tmp_path / 'cache').exists()  # nothing had to be exported


def test_mean_iou_on_camvid_val_is_that_of_the_file(camvid: Path, shipped_model: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'camvid', find_camvid(camvid))
    segmenter = Segmenter(read_model(shipped_model))
    measured = evaluate(segmenter, dataset.samples('val')).summary()['mean_iou']
    assert measured >= 0.50
    # bf16 changes some pixels at class borders
    assert measured == pytest.approx(segmenter.model.info.metrics[MEASURED]['mean_iou'], abs=0.005)


@pytest.fixture(scope='module')
def photographs(camvid: Path) -> list[np.ndarray]:
    """Return images (360 x 640 x 3, uint8, RGB) of CamVid."""
    paths = sorted((camvid / 'val').iterdir())[::20]
    return [cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), (640, 360)) for path in paths]


@pytest.mark.parametrize(('precision', 'agreement', 'close'), [('fp32', 0.999, 0.99), ('auto', 0.995, 0.9)])
def test_openvino_gives_photographs_the_labels_and_confidence_of_plain_pytorch(
    precision: str, agreement: float, close: float, photographs: list[np.ndarray], shipped_model: Path
) -> None:
    model = read_model(shipped_model)
    network = load_network(model)
    engine = create_engine(model, EngineSpec('openvino', precision, 640, 360, confidence=True))
    same, near = [], []
    for image in photographs:
        with torch.inference_mode():
            scores = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
        prediction = engine.infer(image[None])
        confidence = 255 * scores.softmax(0).amax(0).numpy()
        same.append(float(np.mean(prediction.labels[0] == scores.argmax(0).numpy())))
        near.append(float(np.mean(np.abs(prediction.confidence[0] - confidence) <= 2)))
    assert np.mean(same) > agreement, same
    assert np.mean(near) > close, near

"""The model that the package ships."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT

from enet_ros.datasets.camvid import find_camvid
from enet_ros.datasets.writing import write_dataset
from enet_ros.engines.create import create_engine
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.labels import CAMVID
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network
from enet_ros.segmenter import Segmenter, SegmenterConfig
from enet_ros.training.recipe import read_recipe

MEASURED = 'val (trained on)'


def test_it_is_a_camvid_network_of_the_packages_recipes(shipped_model: Path) -> None:
    info = read_model(shipped_model).info
    assert info.labels == CAMVID and info.training_size == (480, 360)
    # as the card tells: three trainings, each begun with the model of the one before it; the last first
    both = 'splits=[train, val]'
    trainings = [
        ('finetune.yaml', [both, 'precision=bf16-mixed', 'stages.finetune.epochs=70']),
        ('finetune.yaml', [both, 'precision=32-true', 'stages.finetune.class_weight_constant=1.02']),
        ('camvid_cpu.yaml', ['precision=bf16-mixed']),
    ]
    assert [info.recipe, *(model['recipe'] for model in info.lineage())] == [
        json.loads(json.dumps(dataclasses.asdict(read_recipe(ROOT / 'config' / 'train' / name, changes))))
        for name, changes in trainings
    ]


def test_the_card_gives_the_files_figures(shipped_model: Path) -> None:
    metrics = read_model(shipped_model).info.metrics[MEASURED]
    card = (ROOT / 'models' / 'README.md').read_text()
    assert f'**{100 * metrics["mean_iou"]:.1f}** | **{100 * metrics["class_average"]:.1f}**' in card
    assert f'Global accuracy {100 * metrics["global_accuracy"]:.1f} %' in card
    for name, values in metrics['classes'].items():
        assert f'| {name} | {100 * values["iou"]:.1f} | {100 * values["accuracy"]:.1f} |' in card


def test_its_graph_lies_beside_it_and_belongs_to_it(
    shipped_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    create_engine(read_model(shipped_model), (480, 360), 'openvino')
    assert not (tmp_path / 'cache').exists()  # nothing had to be exported


def test_mean_iou_on_camvid_val_is_what_the_file_says(camvid: Path, shipped_model: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / 'camvid', find_camvid(camvid))
    segmenter = Segmenter(SegmenterConfig(shipped_model))
    measured = evaluate(segmenter, dataset.samples('val')).summary()['mean_iou']
    assert measured >= 0.50
    # bf16 moves some pixels at class borders
    assert measured == pytest.approx(segmenter.model.info.metrics[MEASURED]['mean_iou'], abs=0.005)


@pytest.mark.parametrize(('precision', 'agreement'), [('fp32', 0.999), ('auto', 0.995)])
def test_openvino_labels_real_images_as_plain_pytorch_does(
    precision: str, agreement: float, camvid: Path, shipped_model: Path
) -> None:
    import cv2

    model = read_model(shipped_model)
    network = load_network(model)
    engine = create_engine(model, (640, 360), 'openvino', precision)
    same = []
    for path in sorted((camvid / 'val').iterdir())[::20]:
        image = cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), (640, 360))
        with torch.inference_mode():
            expected = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0].argmax(0).numpy()
        same.append(float(np.mean(engine.infer(image) == expected)))
    assert np.mean(same) > agreement, same

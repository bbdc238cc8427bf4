"""The metrics for Cityscapes and exported predictions, checked against the official scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import randomize

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Sample
from enet_ros.evaluation.cityscapes import write_label_ids
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CITYSCAPES, CITYSCAPES_CATEGORIES, CITYSCAPES_LABEL_IDS, VOID
from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.enet import ENet
from enet_ros.network.model_file import ModelInfo, write_model
from enet_ros.segmenter import Segmentation

# NumPy 2.4 removed in1d, which version 2.3.0 of the scripts calls; isin replaces it
OFFICIAL_SCRIPT = """
import numpy
numpy.in1d = numpy.isin
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
evalPixelLevelSemanticLabeling.main()
"""
NAMES = ('aachen_000000_000019', 'aachen_000001_000019', 'ulm_000000_000019')


def test_ids_and_categories_are_those_of_the_official_scripts() -> None:
    official_labels = pytest.importorskip('cityscapesscripts.helpers.labels').labels
    trained = sorted((label for label in official_labels if not label.ignoreInEval), key=lambda label: label.trainId)
    assert tuple(label.name for label in trained) == CITYSCAPES.names
    assert tuple(label.color for label in trained) == CITYSCAPES.colors
    assert tuple(label.id for label in trained) == CITYSCAPES_LABEL_IDS
    assert {label.name: label.category for label in trained} == {
        name: category for category, names in CITYSCAPES_CATEGORIES.items() for name in names
    }


def make_official_tree(root: Path, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Write ground truth as Cityscapes publishes it, including ignored label ids, and return its train ids by name."""
    train_ids = np.full(256, VOID, np.uint8)
    train_ids[list(CITYSCAPES_LABEL_IDS)] = range(len(CITYSCAPES))
    truths = {}
    for name in NAMES:
        # blocks of 4x4 pixels of all labels except train (31), which is only predicted, and bus (28), which does not occur
        ids = generator.choice([number for number in range(34) if number not in (28, 31)], (8, 12))
        label_ids = ids.repeat(4, 0).repeat(4, 1)
        instances = np.where(label_ids >= 24, label_ids * 1000 + np.arange(48) // 16, label_ids).astype(np.uint16)
        folder = root / 'gtFine' / 'val' / name.split('_')[0]
        write_image(folder / f'{name}_gtFine_labelIds.png', label_ids.astype(np.uint8))
        assert cv2.imwrite(str(folder / f'{name}_gtFine_instanceIds.png'), instances)
        truths[name] = train_ids[label_ids]
    return truths


def run_official_script(dataset: Path, predictions: Path) -> dict[str, object]:
    environment = {**os.environ, 'CITYSCAPES_DATASET': str(dataset), 'CITYSCAPES_RESULTS': str(predictions)}
    done = subprocess.run([sys.executable, '-c', OFFICIAL_SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((dataset / 'evaluationResults' / 'resultPixelLevelSemanticLabeling.json').read_text())


def test_the_official_script_reads_exported_predictions_and_gives_the_same_metrics(tmp_path: Path) -> None:
    pytest.importorskip('cityscapesscripts')
    generator = np.random.default_rng(3)
    truths = make_official_tree(tmp_path / 'cityscapes', generator)
    samples, predictions = [], []
    for name, truth in truths.items():
        # correct in 60 % of the pixels, else any class except bus, or void
        classes = [number for number, class_name in enumerate(CITYSCAPES.names) if class_name != 'bus']
        others = generator.choice([*classes, VOID], truth.shape)
        right = (generator.random(truth.shape) < 0.6) & (truth != VOID)
        predictions.append(np.where(right, truth, others).astype(np.uint8))
        sample = Sample(tmp_path / 'images' / f'{name}_leftImg8bit.png', tmp_path / 'labels' / f'{name}_leftImg8bit.png')
        write_image(sample.image_path, np.zeros((*truth.shape, 3), np.uint8))
        write_image(sample.labels_path, truth)
        samples.append(sample)
    coming = iter(predictions)
    segmenter = SimpleNamespace(labels=CITYSCAPES, segment=lambda image, channels: Segmentation(next(coming), None))
    ours = evaluate(segmenter, samples, lambda name, labels: write_label_ids(tmp_path / 'out', name, labels)).summary()

    official = run_official_script(tmp_path / 'cityscapes', tmp_path / 'out')
    scores = official['classScores']
    for name, values in ours['classes'].items():
        # their JSON has NaN where ours has null
        assert values['iou'] == pytest.approx(scores[name]) if values['iou'] is not None else np.isnan(scores[name]), name
    assert ours['classes']['bus']['iou'] is None and ours['classes']['train']['iou'] == 0
    assert ours['mean_iou'] == pytest.approx(official['averageScoreClasses'])
    void = official['categoryScores'].pop('void')
    assert np.isnan(void) and ours['categories'] == pytest.approx(official['categoryScores'])
    assert ours['mean_category_iou'] == pytest.approx(official['averageScoreCategories'])
    # computed from the instances, by the official script only
    assert 0 < official['averageScoreInstClasses'] < 1 and 0 < official['averageScoreInstCategories'] < 1


def test_evaluate_exports_label_ids_at_the_size_of_the_labels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = [f'{name}_leftImg8bit' for name in NAMES]
    for name in names:
        write_image(tmp_path / 'data' / 'val' / 'images' / f'{name}.png', draw_scene(3, 120, 72)[0])
        write_image(tmp_path / 'data' / 'val' / 'labels' / f'{name}.png', np.zeros((72, 120), np.uint8))
    (tmp_path / 'data' / 'dataset.yaml').write_text(json.dumps({
        'name': 'cityscapes', 'source': 'drawn', 'license': 'free', 'names': CITYSCAPES.names, 'colors': CITYSCAPES.colors,
        'pixels': {'val': [1] * 19},
    }))
    architecture = ENetArchitecture(len(CITYSCAPES))
    network = randomize(ENet(architecture))
    info = ModelInfo(architecture, CITYSCAPES, (96, 64), 'none', {}, 'untrained')
    weights = {name: values.numpy() for name, values in network.state_dict().items() if values.is_floating_point()}
    write_model(tmp_path / 'm.safetensors', info, weights)
    files = {'--model': 'm.safetensors', '--data': 'data', '--json': 'r.json', '--export': 'out'}
    arguments = [text for option, name in files.items() for text in (option, str(tmp_path / name))]
    assert main(['evaluate', '--backend', 'torch', *arguments]) == 0
    assert f'CITYSCAPES_RESULTS={tmp_path / "out"} csEvalPixelLevelSemanticLabeling' in capfd.readouterr().out
    counts = np.zeros(256, np.int64)
    for name in names:
        exported = cv2.imread(str(tmp_path / 'out' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        assert exported.shape == (72, 120) and exported.dtype == np.uint8
        counts += np.bincount(exported.reshape(-1), minlength=256)
    # each class is exported as often as the confusion matrix counts it
    predicted = np.array(json.loads((tmp_path / 'r.json').read_text())['confusion']).sum(0)
    assert np.count_nonzero(predicted) > 3
    assert counts[list(CITYSCAPES_LABEL_IDS)].tolist() == predicted[:-1].tolist()

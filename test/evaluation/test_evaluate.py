from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from helpers import draw_dataset

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import DatasetError
from enet_ros.evaluation.evaluate import Evaluation, Evaluator, check_labels, class_difference
from enet_ros.evaluation.metrics import confusion_matrix
from enet_ros.labels import CAMVID, CITYSCAPES, VOID, LabelSet
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter


def test_evaluator_pools_the_pixels_of_all_images() -> None:
    generator = np.random.default_rng(0)
    ids = [*range(len(CAMVID)), VOID]
    truth, predicted = generator.choice(ids, (2, 3, 8, 12)).astype(np.uint8)
    evaluator = Evaluator(CAMVID)
    for pair in zip(truth, predicted):
        evaluator.update(*pair)
    evaluation = evaluator.result()
    assert evaluation.labels == CAMVID and evaluation.images == 3
    np.testing.assert_array_equal(evaluation.confusion, confusion_matrix(truth, predicted, len(CAMVID)))


def test_evaluator_counts_nothing_of_a_refused_image() -> None:
    evaluator = Evaluator(CAMVID)
    with pytest.raises(ValueError, match='11'):
        evaluator.update(np.zeros((2, 2), np.uint8), np.full((2, 2), len(CAMVID), np.uint8))
    assert evaluator.result().images == 0 and not evaluator.result().confusion.any()


def test_result_does_not_change_with_later_updates() -> None:
    evaluator = Evaluator(CAMVID)
    before = evaluator.result()
    evaluator.update(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert not before.confusion.any() and evaluator.result().confusion.sum() == 4


BLACK = (0, 0, 0)


def _labels(*names: str) -> LabelSet:
    return LabelSet(names, (BLACK,) * len(names))


@pytest.mark.parametrize(('model', 'dataset', 'difference'), [
    (('Sky', 'Road', 'Car'), ('Sky', 'Heaven', 'Car'), 'only in the model: Road; only in the dataset: Heaven'),
    (('Sky', 'Road'), ('Sky', 'Road', 'Car'), 'only in the dataset: Car'),
    (('Sky', 'Road', 'Car'), ('Sky', 'Car', 'Road'), 'the order differs: id 1 is Road in the model and Car in the dataset'),
    (tuple('abcdefgh'), ('a',), 'only in the model: b, c, d, e, f, g and 1 more'),
    (('Sky', 'Road'), ('Sky', 'Road'), ''),
])
def test_classes_that_differ_are_named(model: tuple[str, ...], dataset: tuple[str, ...], difference: str) -> None:
    assert class_difference(_labels(*model), _labels(*dataset)) == difference


def test_a_dataset_with_other_classes_is_refused_with_the_differing_ones(small_model: Path, tmp_path: Path) -> None:
    dataset = draw_dataset(tmp_path, train=1, val=1)
    other = dataclasses.replace(dataset, labels=dataclasses.replace(CAMVID, names=('Heaven', *CAMVID.names[1:])))
    segmenter = Segmenter(read_model(small_model), EngineSpec('torch'))
    check_labels(segmenter, dataset)
    with pytest.raises(DatasetError, match=r'only in the model: Sky; only in the dataset: Heaven; .*--model') as caught:
        check_labels(segmenter, other)
    assert str(small_model) in str(caught.value) and str(dataset.root) in str(caught.value)


def test_tables_show_percentages_and_a_dash_for_classes_without_pixels() -> None:
    labels = _labels('sky', 'kerb|edge', 'car')
    evaluation = Evaluation(labels, 1, np.array([[6, 2, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]))
    assert evaluation.table().splitlines() == [
        'class            IoU  accuracy',
        'sky             75.0      75.0',
        'kerb|edge       25.0      50.0',
        'car                -         -',
        'mean IoU        50.0',
        'class average             62.5',
        'global                    70.0',
    ]
    assert evaluation.markdown().splitlines()[:4] == [
        '| class | IoU | accuracy |',
        '| --- | ---: | ---: |',
        '| sky | 75.0 | 75.0 |',
        r'| kerb\|edge | 25.0 | 50.0 |',
    ]


def test_evaluations_of_cityscapes_include_categories() -> None:
    confusion = np.zeros((19, 20), np.int64)
    road, sidewalk, sky = (CITYSCAPES.names.index(name) for name in ('road', 'sidewalk', 'sky'))
    confusion[road, [road, sidewalk, sky]] = 2, 1, 1
    evaluation = Evaluation(CITYSCAPES, 1, confusion)
    # road predicted as sidewalk is correct for the category: flat 3 of 4, sky 0 of 1
    assert evaluation.summary()['categories']['flat'] == 0.75 and evaluation.summary()['mean_category_iou'] == 0.375
    lines = [line.split() for line in evaluation.table().splitlines()]
    assert ['category', 'flat', '75.0'] in lines and ['category', 'human', '-'] in lines
    assert lines[-1] == ['mean', 'category', 'IoU', '37.5']
    assert 'categories' not in Evaluation(CAMVID, 1, np.zeros((11, 12), np.int64)).summary()

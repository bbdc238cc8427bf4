from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from replay_results import LABELS, bag
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix, multiclass_jaccard_index

from enet_ros.evaluation.boundary import near_boundary
from enet_ros.evaluation.metrics import mean_iou
from enet_ros.labels import VOID
from enet_ros.replay.collector import Collector
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.results import Coverage, ReplayResult

CLASSES = len(LABELS)
COVERAGE = Coverage(0, 0, 0, 0, 0, 0)


def draw_frames(count: int, height: int = 48, width: int = 64, truth: bool = True, seed: int = 0) -> list[SegmentedFrame]:
    """Return frames of a drawn scene that moves to the left, with labels that are wrong at random, void ones included."""
    random = np.random.default_rng(seed)
    world = np.zeros((height, width + count), np.uint8)
    world[height // 2 :], world[height // 3 :: 7], world[:, width // 2 : width // 2 + 8] = 1, VOID, 2
    image = random.integers(0, 256, (*world.shape, 3), np.uint8)
    frames = []
    for number in range(count):
        true = world[:, number : number + width].copy()
        labels = np.where(true == VOID, 0, true).astype(np.uint8)
        wrong = random.random(labels.shape) < 0.02 * (1 + number % 7)
        labels[wrong] = random.choice(np.array([0, 1, 2, VOID], np.uint8), wrong.sum())
        frames.append(SegmentedFrame(
            f'{number}', number / 10, image[:, number : number + width].copy(), labels,
            random.integers(100, 256, labels.shape, np.uint8), true if truth else None, 0.02 + number / 1000))
    return frames


def collected(frames: list[SegmentedFrame]) -> ReplayResult:
    collector = Collector(LABELS)
    for frame in frames:
        collector.update(frame)
    return collector.result(bag(), COVERAGE, {'seconds': 1.5})


def tensors(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and targets for torchmetrics: predicted void is one class more."""
    predicted = np.where(labels == VOID, CLASSES, labels)
    return torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))


@pytest.fixture(scope='module')
def frames() -> list[SegmentedFrame]:
    return draw_frames(12)


@pytest.fixture(scope='module')
def result(frames: list[SegmentedFrame]) -> ReplayResult:
    return collected(frames)


def test_pooled_counts_are_those_of_torchmetrics_over_all_pixels(frames: list[SegmentedFrame], result: ReplayResult) -> None:
    truth, labels = (np.stack([getattr(frame, name) for frame in frames]) for name in ('truth', 'labels'))
    expected = multiclass_confusion_matrix(*tensors(truth, labels), CLASSES + 1, ignore_index=VOID)
    np.testing.assert_array_equal(result.confusion, expected[:CLASSES].numpy())


def test_figures_of_a_frame_are_those_of_torchmetrics(frames: list[SegmentedFrame], result: ReplayResult) -> None:
    for frame, figures in zip(frames, result.frames):
        assert frame.truth is not None
        pair = tensors(frame.truth, frame.labels)
        iou = multiclass_jaccard_index(*pair, CLASSES + 1, average='none', ignore_index=VOID)[:CLASSES].mean()
        accuracy = multiclass_accuracy(*pair, CLASSES + 1, average='micro', ignore_index=VOID)
        assert figures.mean_iou == pytest.approx(float(iou)) and figures.accuracy == pytest.approx(float(accuracy))


def test_pooled_figures_weight_pixels_and_figures_of_frames_do_not() -> None:
    first = replace(draw_frames(1)[0], labels=np.zeros((48, 64), np.uint8), truth=np.zeros((48, 64), np.uint8))
    truth = np.full((48, 64), VOID, np.uint8)
    truth[0, 0] = 0  # the only pixel of the second frame that counts
    result = collected([first, replace(first, labels=np.ones((48, 64), np.uint8), truth=truth)])
    assert [frame.mean_iou for frame in result.frames] == [1, 0]
    assert mean_iou(result.confusion) == pytest.approx((48 * 64 / (48 * 64 + 1) + 0) / 2)


def test_boundary_figures_count_only_pixels_near_boundaries(frames: list[SegmentedFrame], result: ReplayResult) -> None:
    truth = np.stack([np.where(near_boundary(frame.truth), frame.truth, VOID) for frame in frames])
    labels = np.stack([frame.labels for frame in frames])
    expected = multiclass_jaccard_index(*tensors(truth, labels), CLASSES + 1, average='none', ignore_index=VOID)[:CLASSES]
    assert 0 < result.boundary_confusion.sum() < result.confusion.sum()
    assert mean_iou(result.boundary_confusion) == pytest.approx(float(expected.mean()))


def test_figures_without_ground_truth(frames: list[SegmentedFrame], result: ReplayResult) -> None:
    confidences = [frame.confidence[frame.labels != VOID] for frame in frames]
    assert result.confidence_histogram.tolist() == np.bincount(np.concatenate(confidences), minlength=256).tolist()
    assert [frame.confidence for frame in result.frames] == pytest.approx([one.mean() / 255 for one in confidences])
    for frame, figures in zip(frames, result.frames):
        assert figures.class_share == tuple((frame.labels == label).mean() for label in range(CLASSES))
    flips = [figures.flips for figures in result.frames]
    assert flips[0] is None and all(0 < flip < 0.5 for flip in flips[1:])


def test_names_times_and_latencies_stay_with_their_frames(result: ReplayResult) -> None:
    assert [(frame.name, frame.seconds) for frame in result.frames] == [(f'{number}', number / 10) for number in range(12)]
    assert result.timing['seconds'] == 1.5
    assert result.timing['latency_ms'] == pytest.approx([20 + number for number in range(12)])


def test_the_worst_pictures_have_the_lowest_mean_iou(result: ReplayResult) -> None:
    order = sorted(range(12), key=lambda frame: result.frames[frame].mean_iou or 0)
    assert [picture.frame for picture in result.worst] == order[:len(result.worst)]


def test_the_frames_of_a_confusion_are_those_with_most_of_its_pixels(
    frames: list[SegmentedFrame], result: ReplayResult,
) -> None:
    pixels = [int(((frame.truth == 0) & (frame.labels == VOID)).sum()) for frame in frames]
    expected = sorted(enumerate(pixels), key=lambda entry: -entry[1])[:5]
    assert result.confusion_frames[0, CLASSES] == tuple(expected)


def test_without_ground_truth_pictures_are_chosen_by_confidence() -> None:
    frames = draw_frames(12, truth=False)
    result = collected(frames)
    order = sorted(range(12), key=lambda frame: result.frames[frame].confidence or 0)
    assert [picture.frame for picture in result.worst] == order[:len(result.worst)]
    assert not result.confusion.any() and not result.confusion_frames
    assert all(frame.mean_iou is frame.accuracy is None for frame in result.frames)


def test_frames_before_the_first_ground_truth_are_no_pictures() -> None:
    frames = draw_frames(6)
    result = collected([replace(frame, truth=None) for frame in frames[:3]] + frames[3:])
    assert sorted(picture.frame for picture in result.worst) == [3, 4, 5]


def test_without_frames_and_without_confidence_there_are_no_figures() -> None:
    assert collected([]).frames == () and collected([]).confidence_histogram is None
    result = collected([replace(frame, confidence=None, truth=None, latency=None) for frame in draw_frames(2)])
    assert result.confidence_histogram is None and result.worst == result.typical == ()
    assert result.frames[0].confidence is None and result.timing['latency_ms'] == [None, None]


def test_ground_truth_that_does_not_fit_counts_nothing() -> None:
    frame, = draw_frames(1)
    collector = Collector(LABELS)
    for truth in (np.zeros((4, 4), np.uint8), np.full(frame.labels.shape, CLASSES, np.uint8)):
        with pytest.raises(ValueError, match=r'shape|label id'):
            collector.update(replace(frame, truth=truth))
    assert pickle.dumps(collector.result(bag(), COVERAGE, {})) == pickle.dumps(Collector(LABELS).result(bag(), COVERAGE, {}))


def test_the_same_frames_give_the_same_result(frames: list[SegmentedFrame], result: ReplayResult) -> None:
    assert pickle.dumps(collected(draw_frames(12))) == pickle.dumps(result)


def test_memory_does_not_grow_with_the_images() -> None:
    frames = draw_frames(8)
    collector = Collector(LABELS)

    def play(count: int) -> int:
        for number in range(count):
            frame = frames[number % len(frames)]
            collector.update(replace(frame, image=frame.image.copy(), labels=frame.labels.copy()))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = play(200)
        grown = play(400) - before
    finally:
        tracemalloc.stop()
    assert grown < 400 * 1000  # figures; an image alone has 9 kB

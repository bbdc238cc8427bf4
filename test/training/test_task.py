from __future__ import annotations

import dataclasses
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from recipes import RECIPE, one_stage
from torchmetrics.classification import MulticlassConfusionMatrix

from enet_ros.datasets.prepared import Dataset
from enet_ros.evaluation.metrics import mean_iou
from enet_ros.labels import VOID, LabelSet
from enet_ros.network.registry import make_network
from enet_ros.training.data import Images, load_images
from enet_ros.training.history import read_history
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import Recipe
from enet_ros.training.task import SegmentationTask

LABELS = LabelSet(('a', 'b'), ((0, 0, 0), (1, 1, 1)))


def _task(**changes: object) -> SegmentationTask:
    """Return a stage of five epochs with two steps each."""
    recipe = dataclasses.replace(RECIPE, warmup_epochs=1, **changes)
    stage = dataclasses.replace(recipe.stages[1], epochs=5)
    images = Images(list('abcdef'), torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.zeros(6, 8, 8, dtype=torch.uint8))
    return SegmentationTask(make_network(recipe.architecture(2)), recipe, stage, LABELS, images, images, torch.ones(2))


@pytest.mark.parametrize(('schedule', 'middle'), [('cosine', 0.5), ('poly', 0.5**0.9)])
def test_learning_rate_rises_in_the_warm_up_and_falls_to_zero(schedule: str, middle: float) -> None:
    task = _task(schedule=schedule)
    plan = task.configure_optimizers()
    optimizer, scheduler, rates = plan['optimizer'], plan['lr_scheduler']['scheduler'], []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]['lr'] / task.stage.learning_rate)
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose([rates[step] for step in (0, 1, 2, 6, 10)], [1 / 3, 2 / 3, 1, middle, 0])
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.mark.parametrize(('name', 'kind'), [('adam', torch.optim.Adam), ('adamw', torch.optim.AdamW)])
def test_weights_decay_but_slopes_and_normalizations_do_not(name: str, kind: type) -> None:
    task = _task(optimizer=name, weight_decay=0.25)
    optimizer = task.configure_optimizers()['optimizer']
    assert type(optimizer) is kind
    decays = {id(one): group['weight_decay'] for group in optimizer.param_groups for one in group['params']}
    kernels = {id(module.weight) for module in task.network.modules()
               if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))}
    assert decays == {id(one): 0.25 if id(one) in kernels else 0.0 for one in task.network.parameters()}


def test_images_stay_in_main_memory_if_they_need_more_than_half_of_what_is_free(
    caplog: pytest.LogCaptureFixture
) -> None:
    task = _task()
    caplog.set_level('INFO')
    needed, images = 2 * task.train_images.bytes, task.train_images
    task.place_images(2 * needed)
    assert task.train_images is not images and not caplog.text  # moved, here from the CPU to the CPU
    images = task.train_images
    task.place_images(2 * needed - 1)
    assert task.train_images is images and 'images stay in main memory' in caplog.text


class _Moves(lightning.Callback):
    """Record how far the average of one weight moves towards the weight in each step, as a share of their distance."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: SegmentationTask, *_: object) -> None:
        self.before = pl_module.average.module.decoder.fullconv.weight.clone()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask, *_: object) -> None:
        now, weight = pl_module.average.module.decoder.fullconv.weight, pl_module.network.decoder.fullconv.weight
        self.shares.append(((now - self.before).norm() / (weight - self.before).norm()).item())


@pytest.mark.parametrize('decay', [0.0, 0.5])
def test_average_follows_the_first_steps_closely_and_later_as_the_recipe_says(
    decay: float, dataset: Dataset, tmp_path: Path
) -> None:
    moves = _Moves()
    recipe = one_stage(ema_decay=decay, epochs=6, learning_rate=5e-3, warmup_epochs=0.0, schedule='poly')
    train_stages(dataset, recipe, tmp_path / 'run', callbacks=[moves])
    # step n keeps at most (1 + n) / (10 + n) of the average: a short run must not keep its initial weights
    expected = [1 - min(decay, (1 + step) / (10 + step)) for step in range(12)]
    np.testing.assert_allclose(moves.shares[1:], expected[1:], rtol=1e-3)  # the first average is a copy


class _Counted(lightning.Callback):
    """Count the predictions of the averaged weights once more, with torchmetrics."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.mean_iou: dict[str, list[float]] = {}

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        metric = MulticlassConfusionMatrix(11, ignore_index=VOID)
        labels = self.images.labels[:, 4::8, 4::8] if pl_module.stage.name == 'encoder' else self.images.labels
        metric.update(pl_module.average(self.images.images.float() / 255).argmax(1), labels.long())
        counts = torch.nn.functional.pad(metric.compute(), (0, 1))
        self.mean_iou.setdefault(pl_module.stage.name, []).append(mean_iou(counts.numpy()))


def test_validation_measures_what_torchmetrics_measures(dataset: Dataset, tmp_path: Path) -> None:
    counted = _Counted(load_images(dataset, dataset.samples('val'), (96, 64), 'reading'))
    train_stages(dataset, RECIPE, tmp_path / 'run', callbacks=[counted])
    for stage, expected in counted.mean_iou.items():
        measured = [value for _, value in read_history(tmp_path / 'run' / stage).mean_iou]
        np.testing.assert_allclose(measured, expected, rtol=1e-6)
    assert [len(values) for values in counted.mean_iou.values()] == [1, 2] and max(counted.mean_iou['decoder']) > 0


def test_learning_rate_of_a_resumed_stage_is_that_of_the_recipe(dataset: Dataset, recipe: Recipe, stopped: Path) -> None:
    encoder, decoder = recipe.stages
    lower = dataclasses.replace(recipe, stages=(encoder, dataclasses.replace(decoder, learning_rate=1e-5)))
    train_stages(dataset, lower, stopped, resume=True)
    rates = dict(read_history(stopped / 'decoder').learning_rate)
    assert rates[2] > 1e-4 and rates[3] <= 1e-5


def test_lovasz_softmax_is_added_to_the_cross_entropy(dataset: Dataset, tmp_path: Path) -> None:
    losses = []
    for loss in ('cross_entropy', 'cross_entropy+lovasz'):
        recipe = one_stage(loss=loss, epochs=1, learning_rate=1e-9, warmup_epochs=0.0)
        train_stages(dataset, recipe, tmp_path / loss)
        losses.append(read_history(tmp_path / loss / 'decoder').loss[0][1])
    assert 0.5 < losses[1] - losses[0] < 1  # an untrained network has learned no class

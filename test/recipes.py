"""A recipe of a few steps, and Lightning callbacks that act at a given step."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path

import lightning
import yaml

from enet_ros.training.augmentation import ColorJitter
from enet_ros.training.recipe import Recipe, Stage

RECIPE = Recipe(
    size=(96, 64), splits=('train',), hold_out=(), decoder_activation='prelu', decoder_dropout=0.1, last_kernel=3,
    batch_size=3, optimizer='adam', weight_decay=2e-4, schedule='cosine', warmup_epochs=0.5, ema_decay=0.9,
    precision='32-true', seed=3, validate_every=1, jitter=ColorJitter(0.2, 0.2, 0.2, 0.1, 0.2),
    stages=(
        Stage('encoder', 'encoder', 1, 1e-3, (32, 32), (0.5, 1.5), 5.0, 'cross_entropy', 1.2),
        Stage('decoder', 'enet', 2, 1e-3, (32, 32), (0.5, 1.5), 5.0, 'cross_entropy', 1.02),
    ),
)


def recipe_file(path: Path, recipe: Recipe = RECIPE, **changes: object) -> Path:
    """Write `recipe` with `changes` to `path`. None omits a key."""
    fields = {**dataclasses.asdict(recipe), **changes}
    fields = json.loads(json.dumps(fields))  # YAML has no tuples
    path.write_text(yaml.safe_dump({key: value for key, value in fields.items() if value is not None}))
    return path


def changed_stage(**changes: object) -> list[dict[str, object]]:
    """Return the stages of a one-stage recipe: the last stage of `RECIPE` with `changes`."""
    return [{**dataclasses.asdict(RECIPE.stages[1]), **changes}]


def one_stage(**changes: object) -> Recipe:
    """Return `RECIPE` with its last stage only; `changes` are those of the recipe and of the stage."""
    names = {field.name for field in dataclasses.fields(Stage)}
    stage = dataclasses.replace(RECIPE.stages[1], **{key: value for key, value in changes.items() if key in names})
    others = {key: value for key, value in changes.items() if key not in names}
    return dataclasses.replace(RECIPE, stages=(stage,), **others)


class AtStep(lightning.Callback):
    """Call a function after a step, before the callbacks of the package."""

    def __init__(self, step: int, function: Callable[[lightning.LightningModule], object]) -> None:
        self.step, self.function = step, function

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        if trainer.global_step == self.step:
            self.function(pl_module)


def signal_at(step: int, number: signal.Signals = signal.SIGTERM, rank: int = 0) -> AtStep:
    """Return a callback that sends a signal to its own process after `step`, in the process `rank` only."""
    return AtStep(step, lambda task: task.global_rank == rank and signal.raise_signal(number))

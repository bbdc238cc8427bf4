"""A recipe of a few steps, for tests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import yaml

from enet_ros.training.augmentation import ColorJitter
from enet_ros.training.recipe import Recipe, Stage

RECIPE = Recipe(
    size=(96, 64), splits=('train',), hold_out=(), decoder_activation='prelu', decoder_dropout=0.1, last_kernel=3,
    batch_size=3, optimizer='adam', weight_decay=2e-4, schedule='cosine', warmup_epochs=0.5, ema_decay=0.9,
    precision='32-true', seed=3, validate_every=1, jitter=ColorJitter(0.2, 0.2, 0.2, 0.1),
    stages=(
        Stage('encoder', 'encoder', 1, 1e-3, (64, 64), (0.5, 1.5), 1.2),
        Stage('decoder', 'enet', 2, 1e-3, (64, 64), (0.5, 1.5), 1.02),
    ),
)


def recipe_file(path: Path, **changes: object) -> Path:
    """Write `RECIPE` with `changes` to `path`; None leaves a key out."""
    fields = {**dataclasses.asdict(RECIPE), **changes}
    fields = json.loads(json.dumps(fields))  # YAML knows no tuples
    path.write_text(yaml.safe_dump({key: value for key, value in fields.items() if value is not None}))
    return path


def changed_stage(**changes: object) -> list[dict[str, object]]:
    """Return the stages of a recipe that has one, the last of `RECIPE` with `changes`."""
    return [{**dataclasses.asdict(RECIPE.stages[1]), **changes}]

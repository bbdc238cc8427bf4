"""The training recipe: what `enet train --config` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dacite
import yaml

from enet_ros.errors import EnetError
from enet_ros.network.architecture import SIZE_MULTIPLE, Architecture


class RecipeError(EnetError):
    """A recipe that cannot be used, and why."""


@dataclass(frozen=True)
class Stage:
    """One pass over the data with one network and one learning-rate schedule (paper section 5.2)."""

    name: str
    """Its folder in the run's directory."""
    network: Literal['encoder', 'enet']
    """The encoder with a 1x1 classifier on labels of an eighth of the size, or the whole network."""
    epochs: int
    learning_rate: float
    """At the start; it falls to zero along a half cosine."""
    crop: tuple[int, int]
    """Width and height in pixels of what is cut from the scaled image."""
    scale: tuple[float, float]
    """Smallest and largest factor of the random scaling."""
    class_weight_constant: float
    """c in the class weights 1 / ln(c + p)."""


@dataclass(frozen=True)
class Recipe:
    """All of a training run but the data."""

    size: tuple[int, int]
    """Width and height that images are resized to; the size the model file then asks for."""
    batch_size: int
    weight_decay: float
    brightness: float
    """Images are multiplied by 1 plus or minus up to this."""
    precision: Literal['32-true', 'bf16-mixed', '16-mixed']
    """Of the arithmetic, in Lightning's terms; weights stay float32."""
    seed: int
    validate_every: int
    """Epochs between measurements on the validation split."""
    decoder_activation: Literal['prelu', 'relu']
    decoder_dropout: float
    last_kernel: Literal[2, 3]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Refuse what no run could follow."""
        sizes = {'size': self.size, **{f'crop of stage {stage.name}': stage.crop for stage in self.stages}}
        for name, (width, height) in sizes.items():
            if min(width, height) < SIZE_MULTIPLE or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
                raise RecipeError(f'{name} is {width}x{height}: use positive multiples of {SIZE_MULTIPLE}')
        Architecture(1, self.decoder_activation, self.decoder_dropout, self.last_kernel)  # raises ValueError
        if not 0 <= self.brightness < 1 or not 0 <= self.weight_decay < math.inf:
            raise RecipeError(f'brightness {self.brightness}, weight_decay {self.weight_decay}: '
                              'brightness is from 0 to below 1, weight_decay at least 0')
        if self.batch_size < 1 or self.validate_every < 1:
            raise RecipeError(f'batch_size {self.batch_size}, validate_every {self.validate_every}: both start at 1')
        if not self.stages or self.stages[-1].network != 'enet':
            raise RecipeError('the last stage must train network: enet, the one that is kept')
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise RecipeError('two stages have one name: names must differ')
        for stage in self.stages:
            if not stage.name.isidentifier():
                raise RecipeError(f'stage name "{stage.name}": it becomes a folder, use letters, digits and _')
            if stage.epochs < 1 or not 0 < stage.learning_rate < math.inf:
                raise RecipeError(f'stage {stage.name}: epochs {stage.epochs}, learning_rate {stage.learning_rate}: '
                                  'both must be positive')
            if not 0 < stage.scale[0] <= stage.scale[1] < math.inf:
                raise RecipeError(f'stage {stage.name}: scale is {list(stage.scale)}: give a smaller and a larger factor')
            if not 1 < stage.class_weight_constant < math.inf:
                raise RecipeError(f'stage {stage.name}: class_weight_constant is {stage.class_weight_constant}: '
                                  'it must be above 1, else a weight is infinite or negative')


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        RecipeError: a key is unknown or missing, or a value is of the wrong type or out of range.

    """
    try:
        fields: Any = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise RecipeError(f'no recipe {path}: check the path') from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f'cannot read recipe {path}: {" ".join(str(error).split())}') from error
    if not isinstance(fields, dict):
        raise RecipeError(f'recipe {path} is no mapping of keys to values')
    try:
        return dacite.from_dict(Recipe, fields, dacite.Config(strict=True, cast=[tuple, float]))
    except (dacite.DaciteError, TypeError, ValueError, RecipeError) as error:
        raise RecipeError(f'recipe {path}: {error}') from error

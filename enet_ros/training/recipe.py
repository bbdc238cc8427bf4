"""The training recipe: what `enet train --config` reads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import dacite
import yaml

from enet_ros.datasets.prepared import SPLITS
from enet_ros.errors import EnetError, RecipeError
from enet_ros.network.architecture import SIZE_MULTIPLE, Architecture, ENetArchitecture, SegNetArchitecture
from enet_ros.training.augmentation import ColorJitter


@dataclass(frozen=True)
class Stage:
    """One pass over the data with one network and one learning-rate schedule (paper section 5.2)."""

    name: str
    """Its folder in the run's directory."""
    network: Literal['encoder', 'enet', 'segnet']
    """ENet's encoder with a 1x1 classifier on labels of an eighth of the size, the whole ENet, or SegNet."""
    epochs: int
    learning_rate: float
    """The highest, reached after the warm-up."""
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
    splits: tuple[str, ...]
    """The splits that are trained on."""
    hold_out: tuple[str, ...]
    """Samples of `splits` whose names begin with one of these are validated on instead of trained on: drives, cities."""
    decoder_activation: Literal['prelu', 'relu']
    """This and the next two are options of ENet; for SegNet they stay at `ENetArchitecture`'s defaults."""
    decoder_dropout: float
    last_kernel: Literal[2, 3]
    batch_size: int
    """Of all processes together."""
    optimizer: Literal['adam', 'adamw']
    weight_decay: float
    """Of convolutions; normalisations and PReLU slopes decay in neither optimizer (He et al. 2015, section 2.1)."""
    schedule: Literal['cosine', 'poly']
    """How the learning rate falls to zero: along a half cosine, or as (1 - t)^0.9."""
    warmup_epochs: float
    """It rises from zero for so long before."""
    ema_decay: float
    """What the moving average of the weights keeps at a step, after n steps no more than (1 + n) / (10 + n). The average is
    what is validated and kept. 0 = none."""
    precision: Literal['auto', '32-true', 'bf16-mixed', '16-mixed']
    """Of the arithmetic, in Lightning's terms; weights stay float32. auto = bf16-mixed where there is bf16, else 32-true."""
    seed: int
    validate_every: int
    """Epochs between measurements on the validation samples; a stage's last epoch is always measured."""
    jitter: ColorJitter
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Refuse what no run could follow."""
        smallest = self.architecture(1).smallest_side  # raises what is wrong with the networks and their options
        sizes = {'size': self.size, **{f'crop of stage {stage.name}': stage.crop for stage in self.stages}}
        for name, (width, height) in sizes.items():
            if min(width, height) < smallest or width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
                raise RecipeError(f'{name} is {width}x{height}: use multiples of {SIZE_MULTIPLE} from {smallest} on')
            if width > self.size[0] or height > self.size[1]:
                raise RecipeError(f'{name} is {width}x{height}, more than size {self.size[0]}x{self.size[1]}: set size, too')
        if not self.splits or not set(self.splits) <= set(SPLITS) or len(set(self.splits)) != len(self.splits):
            raise RecipeError(f'splits is {list(self.splits)}: name some of {", ".join(SPLITS)}, each once')
        if not 0 <= self.weight_decay < math.inf or not 0 <= self.warmup_epochs < math.inf:
            raise RecipeError(f'weight_decay {self.weight_decay}, warmup_epochs {self.warmup_epochs}: both are 0 or more')
        if not 0 <= self.ema_decay < 1:
            raise RecipeError(f'ema_decay is {self.ema_decay}: it is from 0 to below 1')
        if self.batch_size < 1 or self.validate_every < 1:
            raise RecipeError(f'batch_size {self.batch_size}, validate_every {self.validate_every}: both start at 1')
        if not 0 <= self.seed < 2**32:
            raise RecipeError(f'seed is {self.seed}: it is from 0 to {2**32 - 1}')
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise RecipeError('two stages have one name: names must differ')
        for stage in self.stages:
            if not stage.name.isidentifier():
                raise RecipeError(f'stage name "{stage.name}": it becomes a folder, use letters, digits and _')
            if stage.epochs < 1 or not 0 < stage.learning_rate < math.inf:
                raise RecipeError(f'stage {stage.name}: epochs {stage.epochs}, learning_rate {stage.learning_rate}: '
                                  'both must be positive')
            if stage.epochs < self.warmup_epochs:
                raise RecipeError(f'stage {stage.name}: epochs {stage.epochs} are fewer than the warmup_epochs '
                                  f'{self.warmup_epochs}')
            if not 0 < stage.scale[0] <= stage.scale[1] < math.inf:
                raise RecipeError(f'stage {stage.name}: scale is {list(stage.scale)}: give a smaller and a larger factor')
            if not 1 < stage.class_weight_constant < math.inf:
                raise RecipeError(f'stage {stage.name}: class_weight_constant is {stage.class_weight_constant}: '
                                  'it must be above 1, else a weight is infinite or negative')

    def architecture(self, classes: int) -> Architecture:
        """Return the architecture of the network that the last stage trains.

        Raises:
            RecipeError: the last stage trains no whole network, SegNet is not alone, or an option of ENet is set for it.
            ValueError: an option is out of its domain.

        """
        enet = ENetArchitecture(classes, self.decoder_activation, self.decoder_dropout, self.last_kernel)
        networks = [stage.network for stage in self.stages]
        if not networks or networks[-1] == 'encoder':
            raise RecipeError('the last stage must train network: enet or segnet, the one that is kept')
        if 'segnet' not in networks:
            return enet
        if others := sorted({*networks} - {'segnet'}):
            raise RecipeError(f'stages train segnet and {", ".join(others)}: write a recipe for each network')
        if enet != (unset := ENetArchitecture(classes)):
            raise RecipeError('SegNet has no options: leave those of ENet at '
                              f'decoder_activation: {unset.decoder_activation}, decoder_dropout: {unset.decoder_dropout}, '
                              f'last_kernel: {unset.last_kernel}')
        return SegNetArchitecture(classes)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file and make `changes` to it, each KEY=VALUE, as in stages.decoder.epochs=10.

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
    for change in changes:
        _change(fields, change)
    where = f'recipe {path}' + (f' with {", ".join(changes)}' if changes else '')
    try:
        return dacite.from_dict(Recipe, _tuples(fields), dacite.Config(strict=True, cast=[float]))
    except dacite.UnexpectedDataError as error:
        known = {name: [field.name for field in dataclasses.fields(kind)]
                 for name, kind in (('', Recipe), ('jitter', ColorJitter), ('stages', Stage))}
        raise RecipeError(f'{where}: unknown key {", ".join(sorted(map(str, error.keys)))}; known are '
                          f'{", ".join(known[""])}; in jitter {", ".join(known["jitter"])}; '
                          f'in each of stages {", ".join(known["stages"])}') from error
    except dacite.WrongTypeError as error:
        raise RecipeError(f'{where}: {error.field_path} must be {_describe(error.field_type)}') from error
    except (dacite.DaciteError, TypeError, ValueError, EnetError) as error:
        raise RecipeError(f'{where}: {error}') from error


def _describe(kind: Any) -> str:  # noqa: ANN401 - a type or what typing makes of it
    if get_origin(kind) is Literal:
        return f'one of {", ".join(map(str, get_args(kind)))}'
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return f'a list in [ ]{"" if others == [...] else f" of {1 + len(others)}"}, each {_describe(first)}'
    names = {int: 'a whole number', float: 'a number', str: 'text (in quotes if it looks like a number)'}
    return names.get(kind, f'a {kind.__name__}')


def _tuples(value: Any) -> Any:  # noqa: ANN401 - what YAML gives
    """Return what was read from YAML with tuples for its lists."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _change(fields: dict[str, Any], change: str) -> None:
    """Make one KEY=VALUE change in a recipe that was read from YAML; stages are found by their names."""
    key, equals, text = change.partition('=')
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        equals = ''
    if not equals:
        raise RecipeError(f'"{change}" is no change of a recipe: write KEY=VALUE, such as stages.decoder.epochs=10')
    *parents, last = key.split('.')
    place: Any = fields
    for name in parents:
        if isinstance(place, list):
            place = {stage.get('name'): stage for stage in place if isinstance(stage, dict)}
        if not isinstance(place.get(name), (dict, list)):
            raise RecipeError(f'"{change}": the recipe has no part {name}; choose from {_names(place)}')
        place = place[name]
    if not isinstance(place, dict) or last not in place:
        raise RecipeError(f'"{change}": the recipe has no key {last} there; choose from {_names(place)}')
    place[last] = value


def _names(place: Any) -> str:  # noqa: ANN401 - what YAML gives
    parts = [part.get('name') for part in place if isinstance(part, dict)] if isinstance(place, list) else place
    return ', '.join(map(str, parts))

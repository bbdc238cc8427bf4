"""The training recipe, which `enet train --config` reads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import dacite

from enet_ros.datasets.prepared import SPLITS
from enet_ros.errors import EnetError, RecipeError, one_line, printable, quoted
from enet_ros.network.architecture import ARCHITECTURES, Architecture, describe_sizes, is_valid_size
from enet_ros.parsing import parse_yaml, read_yaml
from enet_ros.training.augmentation import ColorJitter

PARTS = {'encoder': 'enet'}
"""Parts of networks that a stage can train, and their networks. ENet's encoder gets a 1x1 classifier, on labels of an eighth
of the size (paper section 5.2)."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run: one network and one learning-rate schedule (paper section 5.2)."""

    name: str
    """Name of its folder in the folder of the run."""
    network: str
    """What it trains: one of `ARCHITECTURES` or of `PARTS`."""
    epochs: int
    learning_rate: float
    """The highest learning rate, at the end of the warm-up."""
    crop: tuple[int, int]
    """Width and height in pixels of the crop from the scaled image."""
    scale: tuple[float, float]
    """Smallest and largest factor of the random scaling."""
    rotation: float
    """Largest angle in degrees of the random rotation, to either side."""
    loss: Literal['cross_entropy', 'cross_entropy+lovasz']
    """Cross entropy with class weights, or its sum with the Lovasz-softmax loss, which has none (Berman et al. 2018)."""
    class_weight_constant: float
    """c in the class weights 1 / ln(c + p)."""


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a training run except the data."""

    size: tuple[int, int]
    """Width and height in pixels to which images are resized. The model file records it as the network size."""
    splits: tuple[str, ...]
    """The splits to train on."""
    hold_out: tuple[str, ...]
    """Prefixes of names, such as those of a drive or a city. These samples of `splits` are validated on, not trained on."""
    decoder_activation: Literal['prelu', 'relu']
    """This and the next two are options of ENet. For another network, leave them at their defaults."""
    decoder_dropout: float
    last_kernel: Literal[2, 3]
    batch_size: int
    """Total of all processes."""
    optimizer: Literal['adam', 'adamw']
    weight_decay: float
    """For convolutions; never for normalization parameters and PReLU slopes (He et al. 2015, section 2.1)."""
    schedule: Literal['cosine', 'poly']
    """How the learning rate falls to zero: along a half cosine, or as (1 - t)^0.9."""
    warmup_epochs: float
    """Epochs in which the learning rate first rises from zero."""
    ema_decay: float
    """Decay of the moving average of the weights, which is validated and kept; 0 = no average. After n steps it is at most
    (1 + n) / (10 + n)."""
    precision: Literal['auto', '32-true', 'bf16-mixed', '16-mixed']
    """Precision of the arithmetic in Lightning's terms. auto = bf16-mixed if the hardware computes in bf16, else 32-true."""
    seed: int
    validate_every: int
    """Number of epochs between validations. The last epoch of a stage is always validated."""
    jitter: ColorJitter
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Check all values."""
        smallest = self.architecture(1).smallest_side  # also checks the networks and their options
        sizes = {'size': self.size, **{f'crop of stage {stage.name}': stage.crop for stage in self.stages}}
        for name, (width, height) in sizes.items():
            if not is_valid_size((width, height), smallest):
                raise RecipeError(f'{name} is {width}x{height}: {describe_sizes((width, height), smallest)}')
            if width > self.size[0] or height > self.size[1]:
                raise RecipeError(f'{name} is {width}x{height}: must not exceed size {self.size[0]}x{self.size[1]}; '
                                  'change size, too')
        if not self.splits or not set(self.splits) <= set(SPLITS) or len(set(self.splits)) != len(self.splits):
            raise RecipeError(f'splits is {list(self.splits)}: use one or more of {", ".join(SPLITS)}, each once')
        if not 0 <= self.weight_decay < math.inf or not 0 <= self.warmup_epochs < math.inf:
            raise RecipeError(f'weight_decay is {self.weight_decay}, warmup_epochs is {self.warmup_epochs}: '
                              'both must be at least 0')
        if not 0 <= self.ema_decay < 1:
            raise RecipeError(f'ema_decay is {self.ema_decay}: must be in [0, 1)')
        if self.batch_size < 1 or self.validate_every < 1:
            raise RecipeError(f'batch_size is {self.batch_size}, validate_every is {self.validate_every}: '
                              'both must be at least 1')
        if not 0 <= self.seed < 2**32:
            raise RecipeError(f'seed is {self.seed}: must be in [0, {2**32 - 1}]')
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise RecipeError('two stages have the same name: names must be unique')
        for stage in self.stages:
            if not stage.name.isidentifier():
                raise RecipeError(f'stage name "{stage.name}": use letters, digits and _, it names a folder')
            if stage.epochs < 1 or not 0 < stage.learning_rate < math.inf:
                raise RecipeError(f'stage {stage.name}: epochs is {stage.epochs}, learning_rate is {stage.learning_rate}: '
                                  'both must be positive')
            if stage.epochs < self.warmup_epochs:
                raise RecipeError(f'stage {stage.name}: epochs is {stage.epochs}: must be at least warmup_epochs, '
                                  f'{self.warmup_epochs}')
            if not 0 < stage.scale[0] <= stage.scale[1] < math.inf:
                raise RecipeError(f'stage {stage.name}: scale is {list(stage.scale)}: use two positive factors, '
                                  'the smaller one first')
            if not 0 <= stage.rotation <= 180:
                raise RecipeError(f'stage {stage.name}: rotation is {stage.rotation}: must be in [0, 180] degrees')
            if stage.network in PARTS and stage.loss != 'cross_entropy':
                raise RecipeError(f'stage {stage.name}: loss {stage.loss} needs labels of the full size, network '
                                  f'{stage.network} has an eighth: use loss cross_entropy, or train a whole network')
            if not 1 < stage.class_weight_constant < math.inf:
                raise RecipeError(f'stage {stage.name}: class_weight_constant is {stage.class_weight_constant}: '
                                  'must be greater than 1')

    def architecture(self, classes: int) -> Architecture:
        """Return the architecture of the network that the stages train.

        Raises:
            RecipeError: a network is unknown, the last stage does not train a whole network, stages train several networks,
                or an option of another network is set.
            ValueError: an option is outside its domain.

        """
        for stage in self.stages:
            if stage.network not in (known := (*ARCHITECTURES, *PARTS)):
                raise RecipeError(f'stage {stage.name}: network is "{stage.network}": must be one of {", ".join(known)}')
        if not self.stages or (network := self.stages[-1].network) in PARTS:
            raise RecipeError(f'the last stage must train a whole network: {", ".join(ARCHITECTURES)}')
        if others := sorted({stage.network for stage in self.stages if PARTS.get(stage.network, stage.network) != network}):
            raise RecipeError(f'stages train {network} and {", ".join(others)}: write one recipe for each network')
        defaults = {name: default for kind in ARCHITECTURES.values() for name, default in _options(kind).items()}
        own = _options(kind := ARCHITECTURES[network])
        for name, default in defaults.items():
            if name not in own and getattr(self, name) != default:
                raise RecipeError(f'{kind.title} has no option {name}: leave it at {default}')
        return kind(classes, **{name: getattr(self, name) for name in own})


def _options(kind: type[Architecture]) -> Mapping[str, Any]:
    """Return the options of a network, by name with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(kind) if field.init and field.name != 'classes'}


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file and apply `changes`, each KEY=VALUE, for example stages.decoder.epochs=10.

    Raises:
        RecipeError: the file cannot be read, a key is unknown or missing, or a value has the wrong type or is out of range.

    """
    try:
        fields: Any = read_yaml(path)
    except FileNotFoundError as error:
        raise RecipeError(f'there is no recipe {path}: check the path') from error
    except (OSError, ValueError) as error:
        raise RecipeError(f'cannot read recipe {path}: {one_line(error)}') from error
    if not isinstance(fields, dict):
        raise RecipeError(f'recipe {path} is not a mapping of keys to values: see config/train for examples')
    for change in changes:
        _change(fields, change)
    if key := _truth_value(fields):
        raise RecipeError(f'recipe {path}: {printable(key)} is true or false, which no key takes: use a number or a name, '
                          'with quotes if it is yes, no, on or off')
    where = printable(f'recipe {path}' + (f' with {", ".join(f"{change:.80}" for change in changes)}' if changes else ''))
    try:
        return dacite.from_dict(Recipe, _tuples(fields), dacite.Config(strict=True, cast=[float]))
    except dacite.UnexpectedDataError as error:
        known = {name: [field.name for field in dataclasses.fields(kind)]
                 for name, kind in (('', Recipe), ('jitter', ColorJitter), ('stages', Stage))}
        unknown = printable(', '.join(sorted(f'{key:.40}' for key in map(str, error.keys))))
        raise RecipeError(f'{where}: unknown key {unknown}; known keys: '
                          f'{", ".join(known[""])}; in jitter: {", ".join(known["jitter"])}; '
                          f'in each stage: {", ".join(known["stages"])}') from error
    except dacite.WrongTypeError as error:
        raise RecipeError(f'{where}: {error.field_path} must be {_describe(error.field_type)}') from error
    except (dacite.DaciteError, TypeError, ValueError, OverflowError, EnetError) as error:
        raise RecipeError(f'{where}: {one_line(error)}') from error


def _describe(kind: Any) -> str:  # noqa: ANN401 - a type or a generic alias
    if get_origin(kind) is Literal:
        return f'one of {", ".join(map(str, get_args(kind)))}'
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return f'a list in [ ]{"" if others == [...] else f" of {1 + len(others)}"}, each entry {_describe(first)}'
    names = {int: 'an integer', float: 'a number', str: 'a string (in quotes if it looks like a number)'}
    return names.get(kind, f'a {kind.__name__}')


def _tuples(value: Any) -> Any:  # noqa: ANN401 - YAML
    """Return a value read from YAML with tuples instead of lists."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _truth_value(value: Any, key: str = '') -> str:  # noqa: ANN401 - YAML
    """Return the dotted key of a true or false in a recipe; empty if there is none. Python would take them for 1 and 0."""
    if isinstance(value, bool):
        return key or 'the recipe'
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for name, part in parts if (found := _truth_value(part, f'{key}.{name}'.removeprefix('.')))), '')


def _change(fields: dict[str, Any], change: str) -> None:
    """Apply one KEY=VALUE change to a recipe read from YAML. KEY has the names of stages."""
    key, equals, text = change.partition('=')
    try:
        value = parse_yaml(text)
    except ValueError:
        equals = ''
    if not equals:
        raise RecipeError(f'{quoted(change)} is not a change: use KEY=VALUE, for example stages.decoder.epochs=10')
    *parents, last = key.split('.')
    place: Any = fields
    for name in parents:
        if isinstance(place, list):
            place = {stage.get('name'): stage for stage in place if isinstance(stage, dict)}
        if not isinstance(place.get(name), (dict, list)):
            raise RecipeError(f'{quoted(change)}: the recipe has no section {printable(name)}; choose from {_names(place)}')
        place = place[name]
    if not isinstance(place, dict) or last not in place:
        raise RecipeError(f'{quoted(change)}: there is no key {printable(last)}; choose from {_names(place)}')
    place[last] = value


def _names(place: Any) -> str:  # noqa: ANN401 - YAML
    parts = [part.get('name') for part in place if isinstance(part, dict)] if isinstance(place, list) else place
    return ', '.join(map(str, parts))

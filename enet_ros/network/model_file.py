"""The model file: one safetensors file with float32 weights and, in its metadata, all that is needed to run them.

This module is free of torch, so that an engine that runs an exported graph needs none; `load.py` makes a network of a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from enet_ros.errors import EnetError, ModelFileError
from enet_ros.files import replacing
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import ARCHITECTURES, SIZE_MULTIPLE, Architecture, ENetArchitecture

FORMAT_VERSION = '2'
"""Version 1, which is read, too, did not name the network: there was only ENet."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of its weights.

    Raises:
        ModelFileError: a value that contradicts another or that nothing could run with.

    """

    architecture: Architecture
    labels: LabelSet
    training_size: tuple[int, int]
    """Width and height in pixels that the network was trained at; multiples of 8, and not below what the network takes."""
    dataset: str
    """Name of the dataset it was trained on."""
    recipe: dict[str, Any]
    """The training recipe, as `enet train` read it."""
    license: str
    """What may be done with the weights."""
    begun_with: dict[str, Any] = field(default_factory=dict)
    """sha256, dataset, recipe and, in turn, begun_with of the model file that the training began with; empty for none."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Measured results by split, as `enet evaluate` reports them; empty when nothing was measured."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by after that; positive."""

    def __post_init__(self) -> None:
        """Check what the fields must have in common."""
        if len(self.labels) != self.architecture.classes:
            raise ModelFileError(
                f'{len(self.labels)} class names for a network of {self.architecture.classes} classes: they must be as many'
            )
        smallest = self.architecture.smallest_side
        if len(self.training_size) != 2 or not all(
            isinstance(side, int) and side >= smallest and side % SIZE_MULTIPLE == 0 for side in self.training_size
        ):
            raise ModelFileError(f'training_size is {list(self.training_size)}: it must be width and height, '
                                 f'multiples of {SIZE_MULTIPLE} from {smallest} on')
        for name, values in (('mean', self.mean), ('std', self.std)):
            if len(values) != 3 or not np.isfinite(values).all():
                raise ModelFileError(f'{name} is {list(values)}: it must be three numbers')
        if min(self.std) <= 0:
            raise ModelFileError(f'std is {list(self.std)}: it must be positive')
        for model in self.lineage():
            kinds = {'sha256': str, 'dataset': str, 'recipe': dict}
            if not isinstance(model, dict) or not all(isinstance(model.get(key), kind) for key, kind in kinds.items()):
                raise ModelFileError('begun_with must have sha256, dataset and recipe, or be empty')
        if not isinstance(self.metrics, dict) or not all(isinstance(values, dict) for values in self.metrics.values()):
            raise ModelFileError('metrics are no mapping of splits to results')

    def lineage(self) -> Iterator[dict[str, Any]]:
        """Yield `begun_with`, then that of the model it names, and so on to the one that was begun with random weights."""
        model = self.begun_with
        while model:
            yield model
            model = model.get('begun_with', {})


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and checked, except for the weights' shapes (see `load.py`)."""

    path: Path
    info: ModelInfo
    weights: dict[str, NDArray[np.float32]]
    sha256: str
    """Of the whole file, in hexadecimal, as sha256sum prints it."""


def write_model(path: Path, info: ModelInfo, weights: dict[str, NDArray[np.float32]]) -> None:
    """Write a model file whole or not at all.

    Raises:
        EnetError: the file cannot be written.

    """
    metadata = {
        'format': 'enet_ros',
        'format_version': FORMAT_VERSION,
        'architecture': json.dumps(asdict(info.architecture)),
        'class_names': json.dumps(info.labels.names),
        'class_colors': json.dumps(info.labels.colors),
        'channel_order': 'rgb',
        'mean': json.dumps(info.mean),
        'std': json.dumps(info.std),
        'training_size': json.dumps(info.training_size),
        'dataset': info.dataset,
        'metrics': json.dumps(info.metrics),
        'recipe': json.dumps(info.recipe),
        'begun_with': json.dumps(info.begun_with),
        'license': info.license,
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata))


def read_model(path: Path) -> ModelFile:
    """Read and check a model file.

    Raises:
        ModelFileError: the file lacks or contradicts anything needed to run it.

    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, 'np') as file:
            metadata = file.metadata() or {}
            info = _info(metadata)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except TypeError as error:  # a type that NumPy does not have
        raise ModelFileError(f'model file {path}: its weights are not float32 ({error}): export it again') from error
    except FileNotFoundError as error:
        raise ModelFileError(f'no model file {path}: check the path, or train one with "enet train"') from error
    except IsADirectoryError as error:
        raise ModelFileError(f'{path} is a folder: give the model file in it, such as model.safetensors') from error
    except OSError as error:
        raise ModelFileError(f'cannot read model file {path}: {error.strerror or error}') from error
    except SafetensorError as error:
        if path.suffix == '.onnx':
            raise ModelFileError(f'{path} is an ONNX graph, not a model file: give the .safetensors of that name') from error
        if path.suffix == '.ckpt':
            raise ModelFileError(f'{path} is a checkpoint of a training: give the model.safetensors of its run') from error
        raise ModelFileError(f'{path} is damaged or no safetensors file ({error}): fetch it again') from error
    except ModelFileError as error:
        raise ModelFileError(f'model file {path}: {error}') from error
    for name, values in weights.items():
        if values.dtype != np.float32:
            raise ModelFileError(f'model file {path}: weight {name} is {values.dtype}, not float32: export it again')
        if not np.isfinite(values).all():
            raise ModelFileError(f'model file {path}: weight {name} holds NaN or infinity: its training diverged')
    return ModelFile(path, info, weights, digest)


def _info(metadata: dict[str, str]) -> ModelInfo:
    if metadata.get('format') != 'enet_ros':
        raise ModelFileError('written by another program: only files of "enet train" say how to run them')
    if (version := metadata.get('format_version')) not in ('1', FORMAT_VERSION):
        raise ModelFileError(f'format version {version}, this package reads 1 and {FORMAT_VERSION}: '
                             'use the matching enet_ros')
    if (order := metadata.get('channel_order')) != 'rgb':
        raise ModelFileError(f'channel_order is "{order}": this package runs networks trained on "rgb"')

    def text(key: str) -> str:
        if key not in metadata:
            raise ModelFileError(f'metadata lacks "{key}": train or export it again')
        return metadata[key]

    def value(key: str) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(text(key))
        except json.JSONDecodeError as error:
            raise ModelFileError(f'metadata "{key}" is not JSON ({error}): train or export it again') from error

    try:
        return ModelInfo(
            architecture=_architecture(value('architecture'), version),
            labels=LabelSet(tuple(value('class_names')), tuple(tuple(color) for color in value('class_colors'))),
            training_size=tuple(value('training_size')),
            dataset=text('dataset'),
            recipe=value('recipe'),
            license=text('license'),
            begun_with=value('begun_with') if 'begun_with' in metadata else {},  # older files have none
            metrics=value('metrics'),
            mean=tuple(value('mean')),
            std=tuple(value('std')),
        )
    except ModelFileError:
        raise
    except (TypeError, ValueError, EnetError) as error:
        raise ModelFileError(f'metadata is wrong: {error}') from error


def _architecture(options: dict[str, Any], version: str) -> Architecture:
    if version == '1':
        return ENetArchitecture(**options)
    options = dict(options)
    if (network := options.pop('network', None)) not in ARCHITECTURES:
        raise ModelFileError(f'network "{network}" is unknown, this package has {", ".join(ARCHITECTURES)}: '
                             'use the matching enet_ros')
    return ARCHITECTURES[network](**options)

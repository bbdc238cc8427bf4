"""The model file: one safetensors file with float32 weights and, in its metadata, everything needed to run them.

Free of PyTorch, for engines that run an exported graph. `registry.py` creates the network of a model file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from enet_ros.errors import EnetError, ModelFileError, one_line
from enet_ros.files import read_bytes, replacing
from enet_ros.labels import LabelSet
from enet_ros.network.architecture import ARCHITECTURES, Architecture, ENetArchitecture, describe_sizes, is_valid_size
from enet_ros.parsing import parse_json

FORMAT_VERSION = '2'
"""Version 1 does not name the network, which is ENet. It can still be read."""
REMEDY = 'get an undamaged copy or train it again'
"""What to do about a model file that is damaged or incomplete."""
MAX_BYTES = 2**30
"""Most bytes of a model file or of its graph."""
_OTHER_KINDS = {
    '.onnx': 'an ONNX graph, not a model file: use the .safetensors file of the same name',
    '.ckpt': 'a training checkpoint, not a model file: use the model.safetensors of that run',
}


@dataclass(frozen=True)
class ModelInfo:
    """The description of the weights in a model file.

    Raises:
        ModelFileError: a value is outside its domain or contradicts another one.

    """

    architecture: Architecture
    labels: LabelSet
    training_size: tuple[int, int]
    """Width and height in pixels that the network was trained at: a size that the network takes."""
    dataset: str
    """Name of the dataset it was trained on."""
    recipe: dict[str, Any]
    """The training recipe."""
    license: str
    """The licence of the weights, and of what they were trained on."""
    begun_with: dict[str, Any] = field(default_factory=dict)
    """sha256, dataset, recipe and begun_with of the model file that training started from; empty for random weights."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Results of `enet evaluate` by split; empty if nothing was measured."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """RGB is divided by these positive numbers after the subtraction."""

    def __post_init__(self) -> None:
        """Check the values."""
        if len(self.labels) != self.architecture.classes:
            raise ModelFileError(
                f'{len(self.labels)} class names for a network with {self.architecture.classes} classes: '
                'name each class once'
            )
        size, smallest = self.training_size, self.architecture.smallest_side
        if len(size) != 2 or not all(isinstance(side, int) for side in size):
            raise ModelFileError(f'training_size is {list(size)}: must be two integers, width and height')
        if not is_valid_size(size, smallest):
            raise ModelFileError(f'training_size is {list(size)}: {describe_sizes(size, smallest)}')
        for name, values in (('mean', self.mean), ('std', self.std)):
            if len(values) != 3 or not np.isfinite(values).all():
                raise ModelFileError(f'{name} is {list(values)}: must be three finite numbers')
        if min(self.std) <= 0:
            raise ModelFileError(f'std is {list(self.std)}: must be positive')
        _check_recipe(self.recipe)
        for model in self.lineage():
            kinds = {'sha256': str, 'dataset': str, 'recipe': dict}
            if not isinstance(model, dict) or not all(isinstance(model.get(key), kind) for key, kind in kinds.items()):
                raise ModelFileError('begun_with must have sha256, dataset and recipe, or be empty')
            _check_recipe(model['recipe'])
        if not isinstance(self.metrics, dict) or not all(isinstance(values, dict) for values in self.metrics.values()):
            raise ModelFileError('metrics must map splits to results')

    def lineage(self) -> Iterator[dict[str, Any]]:
        """Yield `begun_with`, then the `begun_with` of that model, and so on to the model trained from random weights."""
        model = self.begun_with
        while model:
            yield model
            model = model.get('begun_with', {})


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and checked, except for the shapes of its weights (see `registry.py`)."""

    path: Path
    info: ModelInfo
    weights: dict[str, NDArray[np.float32]]
    sha256: str
    """The SHA-256 digest of the file in hexadecimal, as sha256sum prints it."""
    graph: dict[str, str] = field(default_factory=dict)
    """Version and sha256 of the ONNX graph that was exported beside the file; empty if none was."""


def _check_recipe(recipe: Any) -> None:  # noqa: ANN401 - JSON
    """Check what is read from a recipe: which samples a model was trained on."""
    lists = [recipe.get(key, ()) for key in ('splits', 'hold_out')] if isinstance(recipe, dict) else [None]
    if not all(isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names) for names in lists):
        raise ModelFileError('recipe must be a mapping in which splits and hold_out, if any, are lists of names')


def write_model(
    path: Path, info: ModelInfo, weights: dict[str, NDArray[np.float32]], graph: dict[str, str] | None = None
) -> None:
    """Write a model file, completely or not at all. The same arguments give the same bytes.

    `graph` is that of `ModelFile`. It belongs to these weights and this description: never copy it from another file.

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
    } | ({'graph': json.dumps(graph)} if graph else {})
    weights = {name: np.ascontiguousarray(values) for name, values in weights.items()}  # safetensors writes others wrongly
    metadata['digest'] = _digest(metadata, weights)
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(_sort_metadata(save(weights, metadata)))


def _digest(metadata: dict[str, str], weights: dict[str, NDArray[np.float32]]) -> str:
    """Return the SHA-256 digest of everything in a model file, which records it to notice damage."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(weights):
        digest.update(json.dumps([name, weights[name].dtype.str, weights[name].shape]).encode())
        digest.update(weights[name].tobytes())
    return digest.hexdigest()


def _sort_metadata(contents: bytes) -> bytes:
    """Return a safetensors file with sorted metadata: the library writes them in random order."""
    end = 8 + int.from_bytes(contents[:8], 'little')
    header = json.loads(contents[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
    text += b' ' * (-len(text) % 8)  # the format aligns the weights
    return len(text).to_bytes(8, 'little') + text + contents[end:]


def read_model(path: Path) -> ModelFile:
    """Read and check a model file. `~` at the start of its path is the home folder.

    Raises:
        ModelFileError: the file lacks or contradicts anything needed to run it.

    """
    path = Path(os.path.expanduser(path))  # unlike that of Path, this never raises
    try:
        digest = hashlib.sha256(read_bytes(path, MAX_BYTES)).hexdigest()
        with safe_open(path, 'np') as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        recorded = metadata.pop('digest', '')
        if recorded and recorded != _digest(metadata, weights):  # older versions recorded none
            raise ModelFileError(f'damaged: it records another digest of its contents: {REMEDY}')
        info, graph = _info(metadata), _json(metadata, 'graph') if 'graph' in metadata else {}
    except TypeError as error:  # a type that NumPy does not have
        raise ModelFileError(f'model file {path}: weights must be float32 ({one_line(error)}): {REMEDY}') from error
    except FileNotFoundError as error:
        raise ModelFileError(f'no model file {path}: check the path, or train one with "enet train"') from error
    except IsADirectoryError as error:
        raise ModelFileError(f'{path} is a folder: use a model file, for example {path / "model.safetensors"}') from error
    except OSError as error:
        raise ModelFileError(f'cannot read model file {path}: {one_line(error)}') from error
    except SafetensorError as error:
        if path.suffix in _OTHER_KINDS:
            raise ModelFileError(f'{path} is {_OTHER_KINDS[path.suffix]}') from error
        raise ModelFileError(f'{path} is damaged or not a safetensors file ({one_line(error)}): {REMEDY}') from error
    except ModelFileError as error:
        raise ModelFileError(f'model file {path}: {one_line(error)}') from error
    for name, values in weights.items():
        if values.dtype != np.float32:
            raise ModelFileError(f'model file {path}: weight {name} is {values.dtype}, not float32: {REMEDY}')
        if not np.isfinite(values).all():
            raise ModelFileError(f'model file {path}: weight {name} has NaN or infinity: training diverged; train again')
    return ModelFile(path, info, weights, digest, graph)


def _info(metadata: dict[str, str]) -> ModelInfo:
    if metadata.get('format') != 'enet_ros':
        raise ModelFileError('written by another program: use a model file of "enet train"')
    if (version := metadata.get('format_version')) not in ('1', FORMAT_VERSION):
        raise ModelFileError(f'format_version is {version}, this package reads 1 and {FORMAT_VERSION}: '
                             'use a newer enet_ros')
    if (order := metadata.get('channel_order')) != 'rgb':
        raise ModelFileError(f'channel_order is "{order}": must be "rgb"')

    def text(key: str) -> str:
        if key not in metadata:
            raise ModelFileError(f'metadata lacks "{key}": {REMEDY}')
        return metadata[key]

    def value(key: str) -> Any:  # noqa: ANN401 - JSON
        text(key)
        return _json(metadata, key)

    try:
        return ModelInfo(
            architecture=_architecture(value('architecture'), version),
            labels=LabelSet(tuple(value('class_names')), tuple(tuple(color) for color in value('class_colors'))),
            training_size=tuple(value('training_size')),
            dataset=text('dataset'),
            recipe=value('recipe'),
            license=text('license'),
            begun_with=value('begun_with') if 'begun_with' in metadata else {},  # not in older files
            metrics=value('metrics'),
            mean=tuple(value('mean')),
            std=tuple(value('std')),
        )
    except ModelFileError:
        raise
    except (TypeError, ValueError, EnetError) as error:
        raise ModelFileError(f'metadata is invalid: {one_line(error)}') from error


def _json(metadata: dict[str, str], key: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return parse_json(metadata[key])
    except ValueError as error:
        raise ModelFileError(f'metadata "{key}" is not JSON ({one_line(error)}): {REMEDY}') from error


def _architecture(options: dict[str, Any], version: str) -> Architecture:
    if version == '1':
        return ENetArchitecture(**options)
    options = dict(options)
    if (network := options.pop('network', None)) not in ARCHITECTURES:
        raise ModelFileError(f'network "{network}" is unknown, this package has {", ".join(ARCHITECTURES)}: '
                             'use a newer enet_ros')
    return ARCHITECTURES[network](**options)

"""The PyTorch module of each architecture, untrained or with the weights of a model file."""

from __future__ import annotations

import torch

from enet_ros.errors import ModelFileError
from enet_ros.network.architecture import Architecture, ENetArchitecture, SegNetArchitecture
from enet_ros.network.enet import ENet
from enet_ros.network.model_file import REMEDY, ModelFile
from enet_ros.network.pooling import Pooling
from enet_ros.network.segnet import SegNet

Network = ENet | SegNet

NETWORKS: dict[type[Architecture], type[Network]] = {ENetArchitecture: ENet, SegNetArchitecture: SegNet}


def make_network(architecture: Architecture, pooling: Pooling | None = None) -> Network:
    """Return the untrained network of `architecture`. `pooling` defaults to PyTorch's own."""
    return NETWORKS[type(architecture)](architecture, pooling)  # type: ignore[arg-type]  # each takes its own architecture


def load_network(model: ModelFile, pooling: Pooling | None = None) -> Network:
    """Return the network of `model` with its weights, in evaluation mode.

    Raises:
        ModelFileError: weights are missing, unknown or do not have the architecture's shape.

    """
    network = make_network(model.info.architecture, pooling)
    # num_batches_tracked is not a weight: model files do not have it
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith('num_batches_tracked')}
    if missing := sorted(expected.keys() - model.weights.keys()):
        raise ModelFileError(f'model file {model.path} lacks weight {missing[0]}: {REMEDY}')
    if unknown := sorted(model.weights.keys() - expected.keys()):
        raise ModelFileError(f'model file {model.path} has weight {unknown[0]}, which is not part of its architecture: '
                             f'{REMEDY}')
    for name, tensor in expected.items():
        if model.weights[name].shape != tuple(tensor.shape):
            raise ModelFileError(
                f'model file {model.path}: weight {name} has shape {list(model.weights[name].shape)}, '
                f'its architecture needs {list(tensor.shape)}: {REMEDY}'
            )
    network.load_state_dict({name: torch.from_numpy(values) for name, values in model.weights.items()}, strict=False)
    return network.eval()

"""Make a network of an architecture or of a model file."""

from __future__ import annotations

import torch

from enet_ros.network.architecture import Architecture, SegNetArchitecture
from enet_ros.network.enet import ENet
from enet_ros.network.model_file import ModelFile, ModelFileError
from enet_ros.network.pooling import Pooling
from enet_ros.network.segnet import SegNet


def make_network(architecture: Architecture, pooling: Pooling | None = None) -> ENet | SegNet:
    """Return the untrained network of `architecture`; it pools by `pooling` (default: PyTorch's own)."""
    if isinstance(architecture, SegNetArchitecture):
        return SegNet(architecture, pooling)
    return ENet(architecture, pooling)


def load_network(model: ModelFile, pooling: Pooling | None = None) -> ENet | SegNet:
    """Return the network of `model` with its weights, in evaluation mode.

    Raises:
        ModelFileError: weights are missing, unknown or of another shape than the architecture's.

    """
    network = make_network(model.info.architecture, pooling)
    expected = network.state_dict()
    # safetensors files hold what numpy calls weights; how often a normalisation was updated is not one
    expected = {name: tensor for name, tensor in expected.items() if not name.endswith('num_batches_tracked')}
    if missing := sorted(expected.keys() - model.weights.keys()):
        raise ModelFileError(f'model file {model.path} lacks weight {missing[0]}: train or export it again')
    if unknown := sorted(model.weights.keys() - expected.keys()):
        raise ModelFileError(f'model file {model.path} holds weight {unknown[0]}, which its architecture has no place for')
    for name, tensor in expected.items():
        if model.weights[name].shape != tuple(tensor.shape):
            raise ModelFileError(
                f'model file {model.path}: weight {name} is {list(model.weights[name].shape)}, '
                f'its architecture needs {list(tensor.shape)}'
            )
    network.load_state_dict({name: torch.from_numpy(values) for name, values in model.weights.items()}, strict=False)
    return network.eval()

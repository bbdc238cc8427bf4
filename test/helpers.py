"""What several test modules share and is not a fixture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from enet_ros.labels import CAMVID
from enet_ros.network.architecture import Architecture, ENetArchitecture
from enet_ros.network.model_file import ModelInfo, write_model
from enet_ros.network.registry import make_network

ROOT = Path(__file__).resolve().parents[1]


def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisations and slopes values as training does: as initialised, mistakes with them would not show."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(module.weight, 1, 0.3, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.3, 0.5, generator=generator)
    return network.eval()


def make_model(path: Path, seed: int = 0, architecture: Architecture | None = None, **options: object) -> Path:
    """Write a model file of an untrained CamVid network for small images: of `architecture`, or an ENet with `options`."""
    torch.manual_seed(seed)
    architecture = architecture or ENetArchitecture(len(CAMVID), **options)
    network = randomize(make_network(architecture), seed)
    info = ModelInfo(architecture, CAMVID, (96, 64), 'none', {'seed': seed}, 'untrained')
    write_model(path, info, {k: v.numpy() for k, v in network.state_dict().items() if v.is_floating_point()})
    return path

"""A model file of SegNet, the paper's baseline, with random weights, to measure its cost."""

from __future__ import annotations

from pathlib import Path

import torch

from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.model_file import ModelFile, ModelInfo, write_model
from enet_ros.network.registry import make_network


def write_segnet(path: Path, like: ModelFile) -> None:
    """Write an untrained SegNet with the classes of `like`. Its labels are meaningless, its time is that of a trained one.

    Raises:
        EnetError: the file cannot be written.

    """
    torch.manual_seed(0)
    architecture = SegNetArchitecture(like.info.architecture.classes)
    weights = make_network(architecture).state_dict()
    info = ModelInfo(architecture, like.info.labels, like.info.training_size, 'none', {}, 'untrained')
    write_model(path, info, {name: values.numpy() for name, values in weights.items() if values.is_floating_point()})

"""ENet with what stands around it on a robot: camera bytes in, label ids out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from enet_ros.network.folding import fold
from enet_ros.network.load import load_network
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import Pooling


class InferenceNetwork(nn.Module):
    """Normalisation, folded ENet and argmax: N x H x W x 3 RGB, uint8, to N x H x W label ids, uint8."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: ModelFile, pooling: Pooling | None = None) -> None:
        """Make the network of `model`, which computes in float32 unless it is moved to another type."""
        super().__init__()
        self.network = fold(load_network(model, pooling))
        self.register_buffer('mean', torch.tensor(model.info.mean).view(3, 1, 1))
        self.register_buffer('std', torch.tensor(model.info.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the most probable class of every pixel."""
        scores: Tensor = self.network(self.normalise(image))
        return self.classify(scores)

    # methods of their own, so that a runtime which traces may put its own operations in their place

    def normalise(self, image: Tensor) -> Tensor:
        """Return the planes that the network takes, N x 3 x H x W, of `image`."""
        # cast first: TensorRT does nothing with bytes but casting them
        planes = image.to(self.mean.dtype).permute(0, 3, 1, 2) / 255
        return (planes - self.mean) / self.std

    def classify(self, scores: Tensor) -> Tensor:
        """Return the class of the highest score of every pixel, N x H x W, uint8."""
        return scores.argmax(1).to(torch.uint8)

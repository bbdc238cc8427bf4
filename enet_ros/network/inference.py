"""The network as engines run it: from image bytes to class ids and, on request, their probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from enet_ros.network.folding import fold
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import Pooling
from enet_ros.network.registry import load_network

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
"""The type that each floating-point precision of an engine computes in."""


class InferenceNetwork(nn.Module):
    """Normalisation, folded network and argmax: N x H x W x 3 RGB, uint8, to N x H x W class ids, uint8.

    With `confidence`, also the probability of each pixel's class (softmax), N x H x W, uint8, 0 to 255 for 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: ModelFile, pooling: Pooling | None = None, *, confidence: bool = False) -> None:
        """Create the network of `model`. It computes in float32 unless it is moved to another type."""
        super().__init__()
        self.confidence = confidence
        self.network = fold(load_network(model, pooling))
        self.register_buffer('mean', torch.tensor(model.info.mean).view(3, 1, 1))
        self.register_buffer('std', torch.tensor(model.info.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the class id of every pixel or, with `confidence`, the ids and their probabilities."""
        scores: Tensor = self.network(self.normalise(image))
        labels = self.classify(scores)
        return (labels, self.rate(scores)) if self.confidence else labels

    # separate methods, so that a network for another runtime can replace them

    def normalise(self, image: Tensor) -> Tensor:
        """Return the input of the network, N x 3 x H x W, for `image` (N x H x W x 3, uint8)."""
        # cast first: TensorRT has no other operation for bytes
        planes = image.to(self.mean.dtype).permute(0, 3, 1, 2) / 255
        return (planes - self.mean) / self.std

    def classify(self, scores: Tensor) -> Tensor:
        """Return the class with the highest score of every pixel, N x H x W, uint8."""
        return scores.argmax(1).to(torch.uint8)

    def rate(self, scores: Tensor) -> Tensor:
        """Return the softmax probability of the class with the highest score, N x H x W, uint8, 0 to 255."""
        # the largest term of the softmax is exp(0) = 1; in float32, because a sum of exponentials in half loses digits
        shifted = scores.float() - scores.amax(1, keepdim=True).float()
        return (255 / shifted.exp().sum(1) + 0.5).to(torch.uint8)

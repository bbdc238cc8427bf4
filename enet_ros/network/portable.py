"""The network as inference runtimes run it fastest: the function of `InferenceNetwork` in operations that cost them less.

PyTorch's own kernels gain nothing by it. What each form is for was measured with OpenVINO 2026.4 on a CPU with AVX-512,
640x360, float32; docs/performance.md has the table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from enet_ros.network.enet import Initial
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling

VECTOR = 16
"""Channels from which on a PReLU is faster as a maximum: those that fill a register of 512 bits."""


class PortableNetwork(InferenceNetwork):
    """The function of `InferenceNetwork`, always with the confidence: a runtime leaves out the output it does not need."""

    def __init__(self, model: ModelFile) -> None:
        """Make the network of `model`, in float32."""
        super().__init__(model, CornerPooling(), confidence=True)
        _rewrite(self.network)

    def normalise(self, image: Tensor) -> Tensor:
        """Return the planes that the network takes, N x 3 x H x W, of `image`."""
        # while the channels are still last, which is how convolutions want them: moving them is then free
        pixels = (image.to(self.mean.dtype) / 255 - self.mean.flatten()) / self.std.flatten()
        return pixels.permute(0, 3, 1, 2)

    def classify(self, scores: Tensor) -> Tensor:
        """Return the class of the highest score of every pixel, N x H x W, uint8."""
        images, _, height, width = scores.shape
        # as if every image were one row: the runtime then moves the classes apart first, and argmax takes 0.2 ms, not 6
        return scores.flatten(2).argmax(1).to(torch.uint8).reshape(images, height, width)

    def rate(self, scores: Tensor) -> Tensor:
        """Return the softmax probability of the class with the highest score, N x H x W, uint8, 0 to 255."""
        images, _, height, width = scores.shape
        rows = scores.flatten(2)  # as in `classify`
        total = (rows - rows.amax(1, keepdim=True)).exp().sum(1)
        return (255 / total + 0.5).to(torch.uint8).reshape(images, height, width)


class MaximumPReLU(nn.Module):
    """A PReLU all of whose slopes are 1 at the most, as a maximum, bit for bit.

    Runtimes join products and maxima to the operations around them, but append a PReLU with a slope for each channel to the
    convolution before it, at more cost.
    """

    def __init__(self, prelu: nn.PReLU) -> None:
        """Take the slopes of `prelu`."""
        super().__init__()
        self.slopes = nn.Parameter(prelu.weight.detach().view(-1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the shape of `features`, N x C x H x W."""
        return torch.maximum(features, features * self.slopes)


class JoinedInitial(nn.Module):
    """A folded `Initial` without concatenation: two convolutions of 16 channels, whose sum holds those of each in place.

    So all of it keeps one memory layout, and activation and sum join the convolution. The bytes that are pooled are taken
    apart while their channels are last: 3 of them are too few for the runtimes' pooling.
    """

    def __init__(self, initial: Initial) -> None:
        """Take the weights of `initial`, whose convolution is folded already."""
        super().__init__()
        convolution, norm = initial.convolution, initial.pooled_norm
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        assert convolution.bias is not None and norm.running_mean is not None and norm.running_var is not None
        filters, pooled = convolution.out_channels, norm.num_features
        self.convolution = nn.Conv2d(3, filters + pooled, 3, stride=2, padding=1)
        self.pooled = nn.Conv2d(pooled, filters + pooled, 1)
        self.activation = initial.activation
        with torch.no_grad():
            for layer in (self.convolution, self.pooled):
                for values in layer.parameters():
                    values.zero_()
            self.convolution.weight[:filters] = convolution.weight
            self.convolution.bias[:filters] = convolution.bias  # type: ignore[index]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.pooled.weight[filters:, :, 0, 0] = torch.diag(scale)
            self.pooled.bias[filters:] = norm.bias - norm.running_mean * scale  # type: ignore[index]

    def forward(self, image: Tensor) -> Tensor:
        """Return the block's features, N x 16 x H/2 x W/2, of N x 3 x H x W."""
        pixels = image.permute(0, 2, 3, 1)
        rows = torch.maximum(pixels[:, 0::2], pixels[:, 1::2])
        pooled = torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
        return self.activation(self.convolution(image) + self.pooled(pooled.permute(0, 3, 1, 2)))


def _rewrite(module: nn.Module) -> None:
    """Put the forms of this module into `module`, which is folded."""
    for name, child in module.named_children():
        if isinstance(child, Initial):
            child = JoinedInitial(child)
            setattr(module, name, child)
        if isinstance(child, nn.PReLU):
            if child.num_parameters >= VECTOR and bool((child.weight <= 1).all()):
                setattr(module, name, MaximumPReLU(child))
        else:
            _rewrite(child)

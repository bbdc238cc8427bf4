"""The network in operations that inference runtimes run fastest, with the results of `InferenceNetwork`.

PyTorch's own kernels are not faster with them. What each change gains was measured with OpenVINO 2026.4 at 640x360 in
float32 on an AMD EPYC with AVX-512; docs/performance.md has the table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from enet_ros.network.enet import Initial
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import ModelFile
from enet_ros.network.pooling import CornerPooling

VECTOR = 16
"""Minimum number of channels for which a PReLU is faster as a maximum: the float32 values in a 512-bit register."""


class PortableNetwork(InferenceNetwork):
    """`InferenceNetwork` for export, always with the confidence. A runtime can drop the output it does not need."""

    def __init__(self, model: ModelFile) -> None:
        """Create the network of `model`, in float32."""
        super().__init__(model, CornerPooling(), confidence=True)
        _join_initials(self.network)
        use_maxima(self.network, VECTOR)

    def normalise(self, image: Tensor) -> Tensor:
        """Return the input of the network, N x 3 x H x W, for `image` (N x H x W x 3, uint8)."""
        # before the permutation: convolutions read channels-last data, so that the runtime need not move anything
        pixels = (image.to(self.mean.dtype) / 255 - self.mean.flatten()) / self.std.flatten()
        return pixels.permute(0, 3, 1, 2)

    def classify(self, scores: Tensor) -> Tensor:
        """Return the class of the highest score of every pixel, N x H x W, uint8."""
        images, _, height, width = scores.shape
        # as one row per image: the runtime then moves each class into its own plane first, and argmax takes 0.2 ms, not 6
        return scores.flatten(2).argmax(1).to(torch.uint8).reshape(images, height, width)

    def rate(self, scores: Tensor) -> Tensor:
        """Return the softmax probability of the class with the highest score, N x H x W, uint8, 0 to 255."""
        images, _, height, width = scores.shape
        rows = scores.flatten(2)  # as in `classify`
        total = (rows - rows.amax(1, keepdim=True)).exp().sum(1)
        return (255 / total + 0.5).to(torch.uint8).reshape(images, height, width)


class MaximumPReLU(nn.Module):
    """A PReLU with slopes of at most 1 as a maximum, with bit-identical results.

    Runtimes fuse products and maxima with the operations around them. They append a PReLU with one slope per channel to the
    convolution before it, which costs more.
    """

    def __init__(self, prelu: nn.PReLU) -> None:
        """Take the slopes of `prelu`."""
        super().__init__()
        self.slopes = nn.Parameter(prelu.weight.detach().view(-1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features with the shape of `features`, N x C x H x W."""
        return torch.maximum(features, features * self.slopes)


class JoinedInitial(nn.Module):
    """A folded `Initial` without concatenation: the sum of two convolutions that fill different channels of the 16.

    Everything then has the same memory layout, and the runtime fuses sum and activation with the convolution. Pooling uses
    strided slices of channels-last data, because the pooling of runtimes is slow with only 3 channels.
    """

    def __init__(self, initial: Initial) -> None:
        """Take the weights of `initial`. Its convolution must be folded."""
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
        """Return the features, N x 16 x H/2 x W/2, of `image`, N x 3 x H x W."""
        pixels = image.permute(0, 2, 3, 1)
        rows = torch.maximum(pixels[:, 0::2], pixels[:, 1::2])
        pooled = torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
        return self.activation(self.convolution(image) + self.pooled(pooled.permute(0, 3, 1, 2)))


def use_maxima(module: nn.Module, least_channels: int = 1) -> None:
    """Replace every PReLU in `module` with at least so many channels and no slope above 1 by a `MaximumPReLU`."""
    for name, child in module.named_children():
        if isinstance(child, nn.PReLU):
            if child.num_parameters >= least_channels and bool((child.weight <= 1).all()):
                setattr(module, name, MaximumPReLU(child))
        else:
            use_maxima(child, least_channels)


def _join_initials(module: nn.Module) -> None:
    """Replace every `Initial` in `module`, which is folded, by a `JoinedInitial`."""
    for name, child in module.named_children():
        if isinstance(child, Initial):
            setattr(module, name, JoinedInitial(child))
        else:
            _join_initials(child)

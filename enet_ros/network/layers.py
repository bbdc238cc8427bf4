"""What the networks are made of, beside PyTorch's own layers and the pooling."""

from __future__ import annotations

from torch import Tensor, nn

BATCH_NORM_EPSILON = 1e-3  # the authors' release


class ConvNorm(nn.Module):
    """A convolution and its batch normalisation; `fold` of `folding.py` turns the pair into one convolution."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Follow `convolution` by a batch normalisation of its output channels."""
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels, eps=BATCH_NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised convolution of `features`."""
        return self.norm(self.convolution(features))

"""A layer that both networks use."""

from __future__ import annotations

from torch import Tensor, nn

BATCH_NORM_EPSILON = 1e-3  # the authors' release


class ConvNorm(nn.Module):
    """A convolution followed by batch normalisation. `fold` of `folding.py` replaces the pair by one convolution."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Add batch normalisation of the output channels to `convolution`."""
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels, eps=BATCH_NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised convolution of `features`."""
        return self.norm(self.convolution(features))

"""ENet, block by block as in the paper (Paszke et al. 2016, sections 3 and 4, Table 1, Figure 2).

What the paper leaves open follows the authors' released model. Where the two differ, as in the number of activations (Figure
3), this module follows the paper. Every convolution with batch normalisation is a `ConvNorm`, so that one rule folds all of
them for inference. Names follow the paper: `encoder.down1` is bottleneck 1.0, `encoder.stage1` has bottlenecks 1.1 to 1.4.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from enet_ros.network.architecture import ENetArchitecture
from enet_ros.network.layers import BATCH_NORM_EPSILON, ConvNorm
from enet_ros.network.pooling import IndexPooling, Pooling


def _activation(kind: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if kind == 'prelu' else nn.ReLU(inplace=True)


class Initial(nn.Module):
    """The initial block (Figure 2a): N x 3 x H x W to N x 16 x H/2 x W/2."""

    def __init__(self) -> None:
        """Create the block: 13 filters and 3 pooled channels make 16 channels."""
        super().__init__()
        self.convolution = ConvNorm(nn.Conv2d(3, 13, 3, stride=2, padding=1))
        self.pooled_norm: nn.Module = nn.BatchNorm2d(3, eps=BATCH_NORM_EPSILON)
        self.activation = nn.PReLU(16)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of `image`."""
        pooled = self.pooled_norm(functional.max_pool2d(image, 2, 2))
        return self.activation(torch.cat((self.convolution(image), pooled), 1))


class Bottleneck(nn.Module):
    """A bottleneck that keeps channels and size (Figure 2b): projection, main convolution, expansion, addition."""

    def __init__(self, channels: int, dropout: float, *, dilation: int = 1, asymmetric: bool = False,
                 activation: str = 'prelu') -> None:
        """Create the block. Its main convolution is 3x3 with `dilation`, or 5x1 followed by 1x5 if `asymmetric`."""
        super().__init__()
        inner = channels // 4
        main = (
            nn.Sequential(
                nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False),
                ConvNorm(nn.Conv2d(inner, inner, (1, 5), padding=(0, 2))),
            )
            if asymmetric
            else ConvNorm(nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation))
        )
        self.branch = nn.Sequential(
            ConvNorm(nn.Conv2d(channels, inner, 1, bias=False)),
            _activation(activation, inner),
            main,
            _activation(activation, inner),
            ConvNorm(nn.Conv2d(inner, channels, 1, bias=False)),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(activation, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the shape of `features`."""
        return self.activation(features + self.branch(features))


class Downsampling(nn.Module):
    """A bottleneck that halves the size: max pooling in the main branch, a 2x2 projection with stride 2 in the other."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, pooling: Pooling) -> None:
        """Create the block. Zero channels are appended to the main branch, up to `channels_out`."""
        super().__init__()
        inner = channels_out // 4
        self.pooling = pooling
        self.new_channels = channels_out - channels_in
        self.branch = nn.Sequential(
            ConvNorm(nn.Conv2d(channels_in, inner, 2, stride=2, bias=False)),
            nn.PReLU(inner),
            ConvNorm(nn.Conv2d(inner, inner, 3, padding=1)),
            nn.PReLU(inner),
            ConvNorm(nn.Conv2d(inner, channels_out, 1, bias=False)),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.PReLU(channels_out)

    def forward(self, features: Tensor) -> tuple[Tensor, object]:
        """Return features of half the size, and the positions of the maxima for the decoder."""
        pooled, positions = self.pooling.pool(features)
        pooled = functional.pad(pooled, (0, 0, 0, 0, 0, self.new_channels))
        return self.activation(pooled + self.branch(features)), positions


class Upsampling(nn.Module):
    """A bottleneck that doubles the size: unpooling in the main branch, a transposed convolution in the other."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, pooling: Pooling, activation: str) -> None:
        """Create the block."""
        super().__init__()
        inner = channels_out // 4
        self.pooling = pooling
        self.main = ConvNorm(nn.Conv2d(channels_in, channels_out, 1, bias=False))
        self.branch = nn.Sequential(
            ConvNorm(nn.Conv2d(channels_in, inner, 1, bias=False)),
            _activation(activation, inner),
            ConvNorm(nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)),
            _activation(activation, inner),
            ConvNorm(nn.Conv2d(inner, channels_out, 1, bias=False)),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(activation, channels_out)

    def forward(self, features: Tensor, positions: object) -> Tensor:
        """Return features of twice the size, with the values of the main branch at `positions`."""
        branch = self.branch(features)
        size = (branch.shape[-2], branch.shape[-1])
        return self.activation(self.pooling.unpool(self.main(features), positions, size) + branch)


class Encoder(nn.Module):
    """The initial block and stages 1 to 3: N x 3 x H x W to N x 128 x H/8 x W/8."""

    channels = 128

    def __init__(self, pooling: Pooling) -> None:
        """Create the 23 blocks of the encoder."""
        super().__init__()
        self.initial = Initial()
        self.down1 = Downsampling(16, 64, 0.01, pooling)
        self.stage1 = nn.Sequential(*(Bottleneck(64, 0.01) for _ in range(4)))
        self.down2 = Downsampling(64, 128, 0.1, pooling)
        self.stage2 = nn.Sequential(*self._context_blocks())
        self.stage3 = nn.Sequential(*self._context_blocks())

    def _context_blocks(self) -> Iterable[Bottleneck]:
        """Yield bottlenecks 2.1 to 2.8. Stage 3 repeats them."""
        yield Bottleneck(self.channels, 0.1)
        yield Bottleneck(self.channels, 0.1, dilation=2)
        yield Bottleneck(self.channels, 0.1, asymmetric=True)
        yield Bottleneck(self.channels, 0.1, dilation=4)
        yield Bottleneck(self.channels, 0.1)
        yield Bottleneck(self.channels, 0.1, dilation=8)
        yield Bottleneck(self.channels, 0.1, asymmetric=True)
        yield Bottleneck(self.channels, 0.1, dilation=16)

    def forward(self, image: Tensor) -> tuple[Tensor, object, object]:
        """Return the features and the pooling positions of bottlenecks 1.0 and 2.0."""
        features, positions1 = self.down1(self.initial(image))
        features, positions2 = self.down2(self.stage1(features))
        return self.stage3(self.stage2(features)), positions1, positions2


class Decoder(nn.Module):
    """Stages 4 and 5 and the last transposed convolution: N x 128 x H/8 x W/8 to N x classes x H x W."""

    def __init__(self, architecture: ENetArchitecture, pooling: Pooling) -> None:
        """Create the decoder with the options of `architecture`."""
        super().__init__()
        activation, dropout = architecture.decoder_activation, architecture.decoder_dropout
        self.up4 = Upsampling(Encoder.channels, 64, dropout, pooling, activation)
        self.stage4 = nn.Sequential(*(Bottleneck(64, dropout, activation=activation) for _ in range(2)))
        self.up5 = Upsampling(64, 16, dropout, pooling, activation)
        self.stage5 = nn.Sequential(Bottleneck(16, dropout, activation=activation))
        extra = architecture.last_kernel - 2  # 1 for a 3x3 kernel: doubles the size as a 2x2 kernel does
        self.fullconv = nn.ConvTranspose2d(
            16, architecture.classes, architecture.last_kernel, stride=2, padding=extra, output_padding=extra
        )

    def forward(self, features: Tensor, positions1: object, positions2: object) -> Tensor:
        """Return the class scores."""
        features = self.stage4(self.up4(features, positions2))
        features = self.stage5(self.up5(features, positions1))
        return self.fullconv(features)


class ENet(nn.Module):
    """The whole network: normalised RGB (N x 3 x H x W, float) to class scores (N x classes x H x W).

    H and W must be multiples of `SIZE_MULTIPLE`. The state dict does not depend on `pooling`.
    """

    classifier_name = 'decoder.fullconv'
    """The layer that gives the class scores."""

    def __init__(self, architecture: ENetArchitecture, pooling: Pooling | None = None) -> None:
        """Create an untrained network. `pooling` is the kind of its downsampling and upsampling (default: PyTorch's own)."""
        super().__init__()
        chosen = pooling or IndexPooling()
        self.encoder = Encoder(chosen)
        self.decoder = Decoder(architecture, chosen)

    def forward(self, image: Tensor) -> Tensor:
        """Return the class scores of `image`."""
        return self.decoder(*self.encoder(image))


class EncoderClassifier(nn.Module):
    """An encoder with a 1x1 classifier, for the first training stage: N x 3 x H x W to N x classes x H/8 x W/8."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        """Add an untrained classifier to `encoder`, which is shared, not copied."""
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Conv2d(Encoder.channels, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the class scores of `image`."""
        return self.classifier(self.encoder(image)[0])

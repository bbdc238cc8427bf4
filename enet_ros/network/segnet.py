"""SegNet in its VGG16 form (Badrinarayanan et al. 2015), the baseline of the ENet paper.

The layers are those of the authors' release: 13 convolutions of 3x3 in the encoder and their mirror image in the decoder,
each followed by batch normalisation and ReLU except the last, which gives the class scores.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.layers import ConvNorm
from enet_ros.network.pooling import IndexPooling, Pooling


def _block(*channels: int) -> nn.Sequential:
    """Return 3x3 convolutions that keep the size, with these numbers of channels: the input, then each output."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [ConvNorm(nn.Conv2d(before, after, 3, padding=1)), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class SegNet(nn.Module):
    """The whole network: normalised RGB (N x 3 x H x W, float) to class scores (N x classes x H x W).

    H and W must be at least 32. Pooling leaves out the last row or column of an odd size, and unpooling fills it with zeros.
    The authors' release pools that row, too (45 becomes 23, here 22). The state dict does not depend on `pooling`.
    """

    classifier_name = 'classifier'
    """The layer that gives the class scores."""

    def __init__(self, architecture: SegNetArchitecture, pooling: Pooling | None = None) -> None:
        """Create an untrained network. `pooling` is the kind of its poolings and unpoolings (default: PyTorch's own)."""
        super().__init__()
        self.pooling = pooling or IndexPooling()
        self.encoder = nn.ModuleList((  # conv1 to conv5 of VGG16
            _block(3, 64, 64),
            _block(64, 128, 128),
            _block(128, 256, 256, 256),
            _block(256, 512, 512, 512),
            _block(512, 512, 512, 512),
        ))
        self.decoder = nn.ModuleList((
            _block(512, 512, 512, 512),
            _block(512, 512, 512, 256),
            _block(256, 256, 256, 128),
            _block(128, 128, 64),
            _block(64, 64),
        ))
        self.classifier = nn.Conv2d(64, architecture.classes, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # the authors' release, which then loads VGG16's weights

    def forward(self, image: Tensor) -> Tensor:
        """Return the class scores of `image`."""
        features, pooled = image, []
        for block in self.encoder:
            features = block(features)
            height, width = features.shape[-2:]
            features, positions = self.pooling.pool(features[..., : height // 2 * 2, : width // 2 * 2])
            pooled.append((positions, height, width))
        for block, (positions, height, width) in zip(self.decoder, reversed(pooled)):
            features = self.pooling.unpool(features, positions, (height // 2 * 2, width // 2 * 2))
            # an exported graph is for all sizes and always has the padding, which may be 0
            if torch.onnx.is_in_onnx_export() or height % 2 or width % 2:
                features = functional.pad(features, (0, width % 2, 0, height % 2))
            features = block(features)
        return self.classifier(features)

"""Random views of a whole batch at once, on the device that trains: geometry and colour, one resampling in all.

Own code, since augmentation libraries resample once for each operation and fill what lies outside an image with class 0.
Every random number comes from the generator that is handed in, so that a resumed run goes on as it would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.errors import EnetError
from enet_ros.labels import VOID


@dataclass(frozen=True)
class ColorJitter:
    """How far the colours of an image are changed at random; 0 leaves them as they are."""

    brightness: float
    """All values are multiplied by 1 plus or minus up to this."""
    contrast: float
    """Distances from the image's mean are multiplied by 1 plus or minus up to this."""
    saturation: float
    """Distances from grey are multiplied by 1 plus or minus up to this."""
    hue: float
    """Colours are turned around the grey axis by up to this share of a full turn, either way."""

    def __post_init__(self) -> None:
        """Refuse what would turn an image into its negative."""
        for name, largest in (('brightness', 1), ('contrast', 1), ('saturation', 1), ('hue', 0.5)):
            if not 0 <= getattr(self, name) <= largest:
                raise EnetError(f'{name} is {getattr(self, name)}: it is from 0 to {largest}')


@torch.no_grad()
def augment(
    images: Tensor,
    labels: Tensor,
    crop: tuple[int, int],
    scale: tuple[float, float],
    jitter: ColorJitter,
    generator: torch.Generator,
    share: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Return a random view of each sample: images N x 3 x h x w in [0, 1] and labels N x h x w, `crop` being (w, h).

    `images` is N x 3 x H x W, uint8, RGB; `labels` N x H x W, uint8. A view scales its sample by a factor between the two of
    `scale` (uniform in its logarithm), flips it or not, and changes its colours. Where a small factor makes the view larger
    than the sample, the rest is void. `generator` is on the CPU. Only the views of `share` are made, the same as among all.
    """
    batch = len(images)
    images, labels = images[share], labels[share]
    count, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(batch).uniform_(low, high, generator=generator)[share]

    # one affine map a sample, in grid_sample's coordinates, where -1 and 1 are the borders
    factor = uniform(math.log(scale[0]), math.log(scale[1])).exp()
    share_x, share_y = crop[0] / width / factor, crop[1] / height / factor
    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0] = share_x * mirror
    maps[:, 1, 1] = share_y
    maps[:, 0, 2] = uniform(-1, 1) * (1 - share_x).abs()
    maps[:, 1, 2] = uniform(-1, 1) * (1 - share_y).abs()
    brightness, contrast, saturation = (
        uniform(1 - reach, 1 + reach) for reach in (jitter.brightness, jitter.contrast, jitter.saturation)
    )
    angle = uniform(-jitter.hue, jitter.hue) * 2 * math.pi
    with torch.autocast(images.device.type, enabled=False):  # 8 bits of mantissa do not tell one pixel from the next
        grid = functional.affine_grid(maps.to(images.device), [count, 1, crop[1], crop[0]], align_corners=False)
        pixels = images.float() / 255
        means = pixels.mean((1, 2, 3))
        views = functional.grid_sample(pixels, grid, mode='bilinear', align_corners=False)
        # outside the sample grid_sample gives 0, so void is moved there and back
        ids = functional.grid_sample(labels[:, None].float() - VOID, grid, mode='nearest', align_corners=False) + VOID
        ids = ids[:, 0].round().to(torch.uint8)
        colors = (brightness * contrast).view(-1, 1, 1) * _color_turn(saturation, angle)
        offset = brightness * (1 - contrast) * means.cpu()
        views = torch.einsum('nij,njhw->nihw', colors.to(views.device), views) + offset.to(views.device).view(-1, 1, 1, 1)
        return views.clamp_(0, 1), ids


def _color_turn(saturation: Tensor, angle: Tensor) -> Tensor:
    """Return N x 3 x 3 matrices that keep grey, and scale colours' distance from it and turn them around it."""
    grey = torch.full((3, 3), 1 / 3)
    around = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = angle.cos().view(-1, 1, 1) * (torch.eye(3) - grey) + angle.sin().view(-1, 1, 1) * around
    return grey + saturation.view(-1, 1, 1) * turn

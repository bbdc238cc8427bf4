"""Random views of a whole batch: scale, rotation, crop, flip, colour; with one resampling, on the device that trains.

Augmentation libraries resample once per operation and fill the area outside an image with class 0. All random numbers come
from the generator argument, so that a resumed run gets the same views.
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
    """Ranges of random colour changes. 0 = no change."""

    brightness: float
    """Values are multiplied by a factor in 1 ± this, 0 to 1."""
    contrast: float
    """Distances from the mean of the image are multiplied by a factor in 1 ± this, 0 to 1."""
    saturation: float
    """Distances from grey are multiplied by a factor in 1 ± this, 0 to 1."""
    hue: float
    """Colours are rotated around the grey axis by up to ± this, in full turns, 0 to 0.5."""
    gamma: float
    """Values in [0, 1] are raised to a power whose logarithm is uniform in ± this, 0 to 1."""

    def __post_init__(self) -> None:
        """Check the ranges: larger values would turn an image into its negative."""
        for name, largest in (('brightness', 1), ('contrast', 1), ('saturation', 1), ('hue', 0.5), ('gamma', 1)):
            if not 0 <= getattr(self, name) <= largest:
                raise EnetError(f'{name} is {getattr(self, name)}: must be in [0, {largest}]')


@torch.no_grad()
def augment(
    images: Tensor,
    labels: Tensor,
    crop: tuple[int, int],
    scale: tuple[float, float],
    rotation: float,
    jitter: ColorJitter,
    generator: torch.Generator,
    share: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Return a random view of each sample.

    A view scales and turns its sample, mirrors it or not, and changes its colours. Where the sample does not cover the view,
    the view is void, and black before its colours are changed.

    Args:
        images: N x 3 x H x W, uint8, RGB.
        labels: N x H x W class ids, uint8, 255 = void.
        crop: Width and height of a view in pixels.
        scale: Smallest and largest scale factor; uniform in its logarithm.
        rotation: Largest angle in degrees, to either side.
        jitter: Ranges of the colour changes.
        generator: Source of all random numbers, on the CPU.
        share: The samples whose views are returned. They are the same as in a call for all samples.

    Returns:
        Images n x 3 x h x w, float32, RGB in [0, 1], and labels n x h x w, uint8.

    """
    batch = len(images)
    images, labels = images[share], labels[share]
    count, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(batch).uniform_(low, high, generator=generator)[share]

    # one affine map per sample, in the coordinates of grid_sample: -1 and 1 are the borders
    factor = uniform(math.log(scale[0]), math.log(scale[1])).exp()
    share_x, share_y = crop[0] / width / factor, crop[1] / height / factor
    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 2] = uniform(-1, 1) * (1 - share_x).abs()
    maps[:, 1, 2] = uniform(-1, 1) * (1 - share_y).abs()
    angle = uniform(-rotation, rotation) * (math.pi / 180)
    aspect = width / height  # the coordinates of grid_sample are not square
    maps[:, 0, 0], maps[:, 0, 1] = share_x * mirror * angle.cos(), -share_y / aspect * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = share_x * mirror * aspect * angle.sin(), share_y * angle.cos()
    brightness, contrast, saturation = (
        uniform(1 - reach, 1 + reach) for reach in (jitter.brightness, jitter.contrast, jitter.saturation)
    )
    turn = uniform(-jitter.hue, jitter.hue) * 2 * math.pi
    exponent = uniform(-jitter.gamma, jitter.gamma).exp()
    with torch.autocast(images.device.type, enabled=False):  # bf16 coordinates cannot address single pixels
        grid = functional.affine_grid(maps.to(images.device), [count, 1, crop[1], crop[0]], align_corners=False)
        pixels = images.float() / 255
        means = pixels.mean((1, 2, 3))
        views = functional.grid_sample(pixels, grid, mode='bilinear', align_corners=False)
        # grid_sample returns 0 outside the sample: with ids shifted by -VOID, 0 is void
        ids = functional.grid_sample(labels[:, None].float() - VOID, grid, mode='nearest', align_corners=False) + VOID
        ids = ids[:, 0].round().to(torch.uint8)
        colors = (brightness * contrast).view(-1, 1, 1) * _color_turn(saturation, turn)
        offset = brightness * (1 - contrast) * means.cpu()
        views = torch.einsum('nij,njhw->nihw', colors.to(views.device), views) + offset.to(views.device).view(-1, 1, 1, 1)
        views.clamp_(0, 1)
        if jitter.gamma:
            views.pow_(exponent.to(views.device).view(-1, 1, 1, 1))
        return views, ids


def _color_turn(saturation: Tensor, angle: Tensor) -> Tensor:
    """Return N x 3 x 3 matrices that scale the distance of colours from grey and rotate them around it."""
    grey = torch.full((3, 3), 1 / 3)
    around = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = angle.cos().view(-1, 1, 1) * (torch.eye(3) - grey) + angle.sin().view(-1, 1, 1) * around
    return grey + saturation.view(-1, 1, 1) * turn

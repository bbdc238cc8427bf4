"""Random scale, crop, flip and brightness of a whole batch at once, on the device that trains."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from enet_ros.labels import VOID


@torch.no_grad()
def augment(
    images: Tensor,
    labels: Tensor,
    crop: tuple[int, int],
    scale: tuple[float, float],
    brightness: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return a random view of each sample: images N x 3 x h x w in [0, 1] and labels N x h x w, `crop` being (w, h).

    `images` is N x 3 x H x W, uint8; `labels` N x H x W, uint8. A view scales its sample by a factor between the two of
    `scale` (uniform in its logarithm), flips it or not, and multiplies the image by 1 +- `brightness`. Where a small factor
    makes the view larger than the sample, the rest is black and void. `generator` is on the CPU.
    """
    count, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=generator)

    # one affine map a sample, in grid_sample's coordinates, where -1 and 1 are the borders
    factor = uniform(torch.tensor(scale[0]).log().item(), torch.tensor(scale[1]).log().item()).exp()
    share_x, share_y = crop[0] / width / factor, crop[1] / height / factor
    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0] = share_x * mirror
    maps[:, 1, 1] = share_y
    maps[:, 0, 2] = uniform(-1, 1) * (1 - share_x).abs()
    maps[:, 1, 2] = uniform(-1, 1) * (1 - share_y).abs()
    with torch.autocast(images.device.type, enabled=False):  # 8 bits of mantissa do not tell one pixel from the next
        grid = functional.affine_grid(maps.to(images.device), [count, 1, crop[1], crop[0]], align_corners=False)

        views = functional.grid_sample(images.float() / 255, grid, mode='bilinear', align_corners=False)
        views = views * uniform(1 - brightness, 1 + brightness).to(images.device).view(-1, 1, 1, 1)
        # outside the sample grid_sample gives 0, so void is moved there and back
        ids = functional.grid_sample(labels[:, None].float() - VOID, grid, mode='nearest', align_corners=False) + VOID
        return views.clamp_(0, 1), ids[:, 0].round().to(torch.uint8)

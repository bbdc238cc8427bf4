from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recipes import RECIPE

from enet_ros.errors import EnetError
from enet_ros.labels import VOID
from enet_ros.training.augmentation import ColorJitter, augment

UNCHANGED = ColorJitter(0, 0, 0, 0, 0)


def test_image_and_labels_are_moved_together() -> None:
    # the pixel values encode the label ids, so that every pixel of a view shows which label it must have
    labels = torch.arange(8, dtype=torch.uint8).repeat_interleave(8).repeat(64, 1)[None].repeat(16, 1, 1)
    images = (labels * 30)[:, None].repeat(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    views, ids = augment(images, labels, (48, 40), (0.5, 2.0), 10.0, UNCHANGED, generator)
    assert views.shape == (16, 3, 40, 48) and ids.shape == (16, 40, 48) and ids.dtype == torch.uint8
    known = ids != VOID
    # bilinear sampling mixes neighbours at borders between ids, by at most half an id
    difference = (views[:, 0] * 255 / 30 - ids.float()).abs()[known]
    assert (difference < 0.05).float().mean() > 0.7 and difference.median() < 1e-3
    assert len({tuple(row.tolist()) for row in ids[:, 20]}) > 8  # views differ


def test_mixed_precision_does_not_change_the_views() -> None:
    images = torch.randint(0, 256, (4, 3, 60, 480), dtype=torch.uint8)
    labels = torch.zeros(4, 60, 480, dtype=torch.uint8)
    plain = augment(images, labels, (240, 40), (0.5, 1.5), 10.0, RECIPE.jitter, torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16):
        mixed = augment(images, labels, (240, 40), (0.5, 1.5), 10.0, RECIPE.jitter, torch.Generator().manual_seed(0))
    assert torch.equal(plain[0], mixed[0]) and torch.equal(plain[1], mixed[1])


def test_the_views_of_a_share_are_those_of_the_whole_batch() -> None:
    images = torch.randint(0, 256, (5, 3, 40, 48), dtype=torch.uint8)
    labels = images[:, 0] % 11

    def views(share: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return augment(images, labels, (48, 40), (0.5, 2.0), 10.0, RECIPE.jitter, torch.Generator().manual_seed(0), share)

    for share in (slice(0, None, 2), slice(1, None, 2)):
        for part, whole in zip(views(share), views(slice(None))):
            assert torch.equal(part, whole[share])


def test_the_area_outside_an_image_is_black_and_void() -> None:
    images, labels = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8), torch.zeros(4, 32, 32, dtype=torch.uint8)
    views, ids = augment(images, labels, (64, 64), (1.0, 1.0), 0.0, UNCHANGED, torch.Generator().manual_seed(0))
    assert (ids == VOID).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert set(ids.unique().tolist()) == {0, VOID}
    assert not views.permute(0, 2, 3, 1)[ids == VOID].gt(0.8).any()


def _jittered(image: torch.Tensor, jitter: ColorJitter) -> torch.Tensor:
    """Return 32 views of one image (3 x H x W, uint8) that differ only in flips and colours."""
    images = image[None].repeat(32, 1, 1, 1)
    labels = torch.zeros(32, *image.shape[1:], dtype=torch.uint8)
    size = (image.shape[2], image.shape[1])
    return augment(images, labels, size, (1.0, 1.0), 0.0, jitter, torch.Generator().manual_seed(0))[0]


def test_brightness_multiplies_values_and_contrast_their_distance_from_the_mean() -> None:
    image = torch.tensor([60, 120], dtype=torch.uint8).view(1, 1, 2).repeat(3, 8, 4)
    bright = _jittered(image, ColorJitter(0.5, 0, 0, 0, 0)).flatten(1) * 255
    ratio = bright.max(1).values / bright.min(1).values
    np.testing.assert_allclose(ratio.numpy(), 2, rtol=1e-3)
    assert bright.max() > 150 and bright.max(1).values.min() < 90  # from 60 to 180
    stretched = _jittered(image, ColorJitter(0, 0.5, 0, 0, 0)).flatten(1) * 255
    np.testing.assert_allclose(stretched.mean(1).numpy(), 90, atol=0.5)
    spread = stretched.max(1).values - stretched.min(1).values
    assert spread.max() > 75 and spread.min() < 45  # from 30 to 90


def test_saturation_and_hue_change_colours_but_not_grey() -> None:
    grey = torch.full((3, 8, 8), 90, dtype=torch.uint8)
    for jitter in (ColorJitter(0, 0, 1, 0, 0), ColorJitter(0, 0, 0, 0.5, 0)):
        np.testing.assert_allclose(_jittered(grey, jitter).numpy(), 90 / 255, atol=1e-5)
    red = torch.tensor([150, 90, 90], dtype=torch.uint8).view(3, 1, 1).repeat(1, 8, 8)
    pale = _jittered(red, ColorJitter(0, 0, 0.5, 0, 0))[:, :, 0, 0] * 255
    np.testing.assert_allclose(pale.mean(1).numpy(), 110, atol=1e-3)
    strength = pale[:, 0] - pale[:, 1]
    assert strength.min() < 45 and strength.max() > 75  # 60 ± half
    np.testing.assert_allclose(pale[:, 1].numpy(), pale[:, 2].numpy(), atol=1e-3)
    turned = _jittered(red, ColorJitter(0, 0, 0, 0.5, 0))[:, :, 0, 0] * 255
    np.testing.assert_allclose(turned.mean(1).numpy(), 110, atol=1e-3)
    assert {int(color.argmax()) for color in turned} == {0, 1, 2}  # red becomes green and blue, too


def test_gamma_raises_values_to_a_power() -> None:
    image = torch.tensor([0, 51, 204, 255], dtype=torch.uint8).view(1, 1, 4).repeat(3, 8, 2)
    views = _jittered(image, ColorJitter(0, 0, 0, 0, 0.5))
    assert views.min() == 0 and views.max() == 1
    dark, light = views[:, 0, 0].sort(1).values[:, [2, 4]].log().T  # from 51 and 204
    exponents = dark / math.log(0.2)
    np.testing.assert_allclose((light / math.log(0.8)).numpy(), exponents.numpy(), rtol=1e-4)
    assert math.exp(-0.5) < exponents.min() < 0.7 and 1.4 < exponents.max() < math.exp(0.5)


def test_rotation_turns_an_image_around_its_middle_without_distortion() -> None:
    # the first two channels are the coordinates of a pixel, so that a view shows where its pixels were
    y, x = torch.meshgrid(torch.arange(64), torch.arange(128), indexing='ij')
    images = torch.stack((x, y, 0 * x)).to(torch.uint8).repeat(32, 1, 1, 1)
    views, _ = augment(images, images[:, 2], (128, 64), (1.0, 1.0), 20.0, UNCHANGED, torch.Generator().manual_seed(0))
    places = views[:, :2].double() * 255
    right, down = places[:, :, 31, 64] - places[:, :, 31, 63], places[:, :, 32, 63] - places[:, :, 31, 63]
    np.testing.assert_allclose(right.norm(dim=1), 1, atol=1e-3)
    np.testing.assert_allclose(down.norm(dim=1), 1, atol=1e-3)
    np.testing.assert_allclose((right * down).sum(1), 0, atol=1e-3)
    np.testing.assert_allclose(places[:, :, 31:33, 63:65].mean((2, 3)), [[63.5, 31.5]] * 32, atol=1e-3)
    angles = torch.rad2deg(down[:, 0].asin())
    assert -20 < angles.min() < -15 and 15 < angles.max() < 20


@pytest.mark.parametrize('values', [
    (1.5, 0, 0, 0, 0), (0, -0.1, 0, 0, 0), (0, 0, 2, 0, 0), (0, 0, 0, 0.6, 0), (0, 0, 0, 0, 1.1), (float('nan'), 0, 0, 0, 0),
], ids=str)
def test_a_jitter_out_of_range_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(EnetError, match=r'must be in \[0, '):
        ColorJitter(*values)

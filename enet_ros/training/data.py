"""What a run trains and validates on: whole splits, decoded once and kept in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from enet_ros.datasets.prepared import Dataset, Sample, check_ids
from enet_ros.errors import DatasetError
from enet_ros.labels import VOID
from enet_ros.training.recipe import Recipe


@dataclass(frozen=True)
class Images:
    """Samples in memory, since decoding an image costs more than a training step on a GPU."""

    names: list[str]
    images: Tensor
    """N x 3 x H x W, uint8, RGB."""
    labels: Tensor
    """N x H x W class ids, uint8, 255 = void."""

    @property
    def bytes(self) -> int:
        """Return how much memory they take."""
        return self.images.nbytes + self.labels.nbytes

    def to(self, device: torch.device) -> Images:
        """Return the same on `device`."""
        return Images(self.names, self.images.to(device), self.labels.to(device))

    def pixels(self, classes: int) -> Tensor:
        """Return how many pixels each class has."""
        return sum((torch.bincount(labels.flatten(), minlength=256) for labels in self.labels), torch.zeros(256))[:classes]


def choose_samples(dataset: Dataset, recipe: Recipe) -> tuple[list[Sample], list[Sample]]:
    """Return the samples to train on and those to validate on, of which there may be none.

    Validated on is what the recipe holds out, else the split val unless it is trained on.

    Raises:
        EnetError: a split is missing, nothing is left to train on, or nothing has the name that is held out.

    """
    samples = [sample for split in recipe.splits for sample in dataset.samples(split)]
    if recipe.hold_out:
        held = [sample for sample in samples if sample.stem.startswith(recipe.hold_out)]
        rest = [sample for sample in samples if not sample.stem.startswith(recipe.hold_out)]
        for prefix in recipe.hold_out:
            if not any(sample.stem.startswith(prefix) for sample in held):
                raise DatasetError(f'hold_out "{prefix}": no sample\'s name begins so, {samples[0].stem}, say, is one')
        if not rest:
            raise DatasetError(f'hold_out {list(recipe.hold_out)} takes all of {len(samples)} samples: choose what the '
                               'names of some begin with, such as drives')
        return rest, held
    return samples, [] if 'val' in recipe.splits or 'val' not in dataset.pixels else dataset.samples('val')


def load_images(dataset: Dataset, samples: list[Sample], size: tuple[int, int], description: str) -> Images:
    """Read `samples` at `size` (width, height).

    Raises:
        EnetError: a file is missing or damaged, sizes differ, or a label is no class.

    """
    allowed = {*range(len(dataset.labels)), VOID}

    def read(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, ids = sample.read()
        check_ids(sample.labels_path, ids, allowed)
        if ids.shape != (size[1], size[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)), ids

    images = torch.empty(len(samples), 3, size[1], size[0], dtype=torch.uint8)
    labels = torch.empty(len(samples), size[1], size[0], dtype=torch.uint8)
    with ThreadPoolExecutor() as pool:
        try:
            read_samples = pool.map(read, samples)
            for number, (image, ids) in enumerate(tqdm(read_samples, description, len(samples), unit='image')):
                images[number], labels[number] = torch.from_numpy(image), torch.from_numpy(ids)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else the rest would be read before the error is told
            raise
    return Images([sample.stem for sample in samples], images, labels)

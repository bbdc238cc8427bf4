"""The images of a run: whole splits, decoded once and kept in memory."""

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
from enet_ros.datasets.splitting import split_by_prefix
from enet_ros.errors import DatasetError
from enet_ros.images.resize import fit
from enet_ros.labels import VOID
from enet_ros.training.recipe import Recipe


@dataclass(frozen=True)
class Images:
    """Decoded samples. Decoding an image takes longer than a training step on a GPU."""

    names: list[str]
    images: Tensor
    """N x 3 x H x W, uint8, RGB."""
    labels: Tensor
    """N x H x W class ids, uint8, 255 = void."""

    @property
    def bytes(self) -> int:
        """Return their size in memory."""
        return self.images.nbytes + self.labels.nbytes

    def to(self, device: torch.device) -> Images:
        """Return the same samples on `device`."""
        return Images(self.names, self.images.to(device), self.labels.to(device))

    def pixels(self, classes: int) -> Tensor:
        """Return the number of pixels of each class."""
        return sum((torch.bincount(labels.flatten(), minlength=256) for labels in self.labels), torch.zeros(256))[:classes]


def choose_samples(dataset: Dataset, recipe: Recipe) -> tuple[list[Sample], list[Sample]]:
    """Return the training samples and the validation samples of `recipe`. There may be no validation samples.

    Validation samples are those that `hold_out` selects; without `hold_out`, those of split val unless it is trained on.

    Raises:
        DatasetError: a split is missing, `hold_out` matches nothing, or no training samples are left.

    """
    samples = [sample for split in recipe.splits for sample in dataset.samples(split)]
    if recipe.hold_out:
        try:
            return split_by_prefix(samples, recipe.hold_out, lambda sample: sample.stem)
        except DatasetError as error:
            raise DatasetError(f'hold_out {list(recipe.hold_out)}: {error}') from error
    return samples, [] if 'val' in recipe.splits or 'val' not in dataset.pixels else dataset.samples('val')


def load_images(dataset: Dataset, samples: list[Sample], size: tuple[int, int], description: str) -> Images:
    """Read `samples` resized to `size` (width, height). `description` labels the progress bar.

    Raises:
        EnetError: a file is missing or damaged, an image and its labels differ in size, or a label is not a class.

    """
    allowed = {*range(len(dataset.labels)), VOID}

    def read(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, ids = sample.read()
        check_ids(sample.labels_path, ids, allowed)
        if ids.shape != (size[1], size[0]):
            image = fit(image, size)  # as a `Segmenter` resizes it
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
            pool.shutdown(cancel_futures=True)  # report the error now, not after all other images are read
            raise
    return Images([sample.stem for sample in samples], images, labels)

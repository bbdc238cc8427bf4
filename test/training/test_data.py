from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from recipes import RECIPE

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError
from enet_ros.images.files import write_image
from enet_ros.images.resize import fit
from enet_ros.labels import VOID
from enet_ros.training.data import choose_samples, load_images

TRAIN, VAL = [f'train{number}' for number in range(6)], ['val0', 'val1']


def _names(dataset: Dataset, **changes: object) -> tuple[list[str], ...]:
    chosen = choose_samples(dataset, dataclasses.replace(RECIPE, **changes))
    return tuple([sample.stem for sample in samples] for samples in chosen)


def test_split_val_is_validated_on_unless_it_is_trained_on(dataset: Dataset) -> None:
    assert _names(dataset) == (TRAIN, VAL)
    assert _names(dataset, splits=('train', 'val')) == (TRAIN + VAL, [])


def test_held_out_samples_are_validated_on_and_not_trained_on(dataset: Dataset) -> None:
    assert _names(dataset, splits=('train', 'val'), hold_out=('train0', 'val1')) == (TRAIN[1:] + VAL[:1], ['train0', 'val1'])


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'hold_out': ('train',)}, 'hold_out .*train.* all 6'),
    ({'hold_out': ('train0', 'trian1')}, 'hold_out .*"trian1".*train0'),
    ({'splits': ('test',)}, 'test'),
])
def test_a_choice_without_training_or_validation_samples_is_refused(
    changes: dict[str, object], reason: str, dataset: Dataset
) -> None:
    with pytest.raises(DatasetError, match=reason):
        _names(dataset, **changes)


def test_images_are_resized_and_keep_their_labels(dataset: Dataset) -> None:
    samples = dataset.samples('train')[:2]
    images = load_images(dataset, samples, (48, 32), 'reading')
    assert images.names == ['train0', 'train1']
    assert images.images.shape == (2, 3, 32, 48) and images.labels.shape == (2, 32, 48)
    image, labels = samples[1].read()
    expected = cv2.cvtColor(cv2.resize(image, (48, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(images.images[1].permute(1, 2, 0).numpy(), expected)
    larger = load_images(dataset, samples, (192, 128), 'reading').images[1].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(larger, cv2.cvtColor(fit(image, (192, 128)), cv2.COLOR_BGR2RGB))  # as at inference
    assert set(images.labels[1].unique().tolist()) <= set(np.unique(labels).tolist())


def test_pixels_of_each_class_are_counted_without_void(dataset: Dataset) -> None:
    samples = dataset.samples('train')
    images = load_images(dataset, samples, (96, 64), 'reading')
    images.labels[0] = VOID
    expected = sum(np.bincount(sample.read()[1].reshape(-1), minlength=256)[:11] for sample in samples[1:])
    assert images.pixels(11).tolist() == expected.tolist()
    assert images.bytes == 4 * images.labels.numel() and images.to(torch.device('cpu')).names == images.names


def test_a_label_that_is_not_a_class_is_refused_with_its_file(drawn_dataset: Callable[..., Dataset]) -> None:
    dataset = drawn_dataset()
    samples = dataset.samples('train')
    write_image(samples[2].labels_path, np.full((64, 96), 50, np.uint8))
    with pytest.raises(DatasetError, match=f'{samples[2].labels_path} .*50'):
        load_images(dataset, samples, (96, 64), 'reading')

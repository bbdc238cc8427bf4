"""A split of a prepared dataset as a bag, or a folder of images in the same layout without ground truth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from enet_ros.datasets.prepared import Sample, check_ids, read_dataset, some_images
from enet_ros.errors import UsageError, printable
from enet_ros.evaluation.evaluate import trained_on
from enet_ros.images.files import read_image
from enet_ros.images.mcap_scan import is_unfinished_mcap, read_metadata
from enet_ros.labels import VOID, LabelSet
from enet_ros.network.model_file import ModelInfo
from enet_ros.parsing import parse_json
from enet_ros.replay.bag_writer import METADATA, BagWriter, Stamp, class_names_topic

START = 1_000_000_000
"""Stamp of the first image, in seconds (2001): the same in every run, so that the same dataset gives the same bag."""
DEFAULT_SPLIT = 'val'


@dataclass(frozen=True)
class Split:
    """The images of a split."""

    folder: Path
    images: list[Path]
    """Sorted by name."""
    labels: LabelSet | None
    """The classes of the ground truth; None if there is none."""
    dataset: str = ''
    """Name of the dataset; empty for images without ground truth."""


@dataclass(frozen=True)
class BagLayout:
    """How to write a split."""

    image_topic: str
    labels_topic: str
    rate: float
    """Images per second."""
    jpeg: int | None
    """Quality, 1 to 100; None = raw images."""

    @property
    def camera_topic(self) -> str:
        """Return the topic of the images, named as image_transport does."""
        return self.image_topic if self.jpeg is None else f'{self.image_topic}/compressed'

    @property
    def info_topic(self) -> str:
        """Return the topic of the CameraInfo, named as image_transport does."""
        return f'{self.image_topic.rpartition("/")[0]}/camera_info'

    def shared_topic(self) -> str:
        """Return a topic that two kinds of messages would have; empty if there is none."""
        topics = (self.camera_topic, self.info_topic, self.labels_topic, class_names_topic(self.labels_topic))
        return next((topic for topic in topics if topics.count(topic) > 1), '')

    def stamp(self, number: int) -> Stamp:
        """Return the stamp of an image."""
        seconds, rest = divmod(round(number / self.rate * 1e9), 10**9)
        return START + seconds, rest


def open_split(folder: Path, split: str = '') -> Split:
    """Open `split` of a prepared dataset, by default val, or the folder of a split.

    Raises:
        UsageError: `folder` is the folder of a split, and `split` is given.
        EnetError: `folder` is neither, the split is missing, or ground truth does not fit to the images.

    """
    if not (folder / 'dataset.yaml').exists() and (folder / 'images').is_dir():
        if split:
            raise UsageError(f'{folder} is the folder of a split: remove --split {split} or pass the dataset')
        folder = folder.resolve()
    else:
        folder = folder / (split or DEFAULT_SPLIT)
    if (folder / 'images').is_dir() and not (folder / 'labels').exists():
        return Split(folder, some_images(folder / 'images'), None)
    dataset = read_dataset(folder.parent)
    return Split(folder, [sample.image_path for sample in dataset.samples(folder.name)], dataset.labels,
                 dataset.name)


def seen_in_training(info: ModelInfo, path: Path) -> str:
    """Return dataset and split of a bag by `write_split` if a model was trained on any of its images, else an empty text.

    Nothing is known of other bags, and of those that are not on this machine.
    """
    if path.suffix.lower() != '.mcap' or not path.is_file() or is_unfinished_mcap(path):
        return ''
    for record in read_metadata(path, METADATA):
        with suppress(ValueError, TypeError, KeyError):  # the record of the classes, or not one of ours
            origin = parse_json(record['origin'])
            dataset, split = str(origin['dataset']), str(origin['split'])
            if trained_on(info, dataset, [(split, str(stem)) for stem in origin['images']]):
                return printable(f'{dataset} ({split})')
    return ''


def write_split(bag: BagWriter, split: Split, layout: BagLayout, progress: Callable[[], object]) -> None:
    """Write images, CameraInfo, ground truth and class names. `progress` is called after each image.

    Raises:
        EnetError: an image or its ground truth cannot be read.

    """
    bag.set_time(layout.stamp(0))
    if split.labels:
        bag.write_classes(layout.labels_topic, split.labels)
        bag.write_origin(split.dataset, split.folder.name, [path.stem for path in split.images])
    for number, path in enumerate(split.images):
        bag.set_time(layout.stamp(number))
        if split.labels:
            sample = Sample(path, split.folder / 'labels' / f'{path.stem}.png')
            image, truth = sample.read()
            check_ids(sample.labels_path, truth, (*range(len(split.labels)), VOID))
            bag.write_image(layout.labels_topic, truth, 'mono8')
        else:
            image = read_image(path)
        if layout.jpeg is None:
            bag.write_image(layout.camera_topic, image)
        else:
            bag.write_jpeg(layout.camera_topic, image, layout.jpeg)
        bag.write_camera_info(layout.info_topic, image.shape[1], image.shape[0])
        progress()

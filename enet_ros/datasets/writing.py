"""Writes the prepared layout from what a converter found: on all cores, and going on where an interrupted run was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from enet_ros.datasets.journal import Figures, Journal
from enet_ros.datasets.prepared import SPLITS, Dataset, check_ids, read_dataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.files import replacing
from enet_ros.images.files import IMAGE_SUFFIXES, image_files, read_image, write_image
from enet_ros.images.integrity import check_whole
from enet_ros.labels import VOID, LabelSet


@dataclass(frozen=True)
class Pair:
    """An image and the file that its labels are in, as published; `name` is the stem in the prepared layout."""

    image_path: Path
    labels_path: Path
    name: str

    @classmethod
    def of(cls, image_path: Path, labels_path: Path) -> Pair:
        """Make a pair that keeps the image's name."""
        return cls(image_path, labels_path, image_path.stem)


@dataclass(frozen=True)
class SourceDataset:
    """A dataset in its own layout and coding, as a converter found it."""

    name: str
    labels: LabelSet
    splits: Mapping[str, Sequence[Pair]]
    to_ids: Callable[[Pair], NDArray[np.uint8]]
    """Reads the labels of a pair as class ids (H x W, uint8, 255 = void); called from several threads."""
    source: str
    license: str
    settings: str = ''
    """What else decides the labels, such as a classes file: with other settings, an interrupted run starts anew."""


def write_dataset(
    root: Path, source: SourceDataset, link: bool = False, on_bad: Callable[[EnetError], None] | None = None
) -> Dataset:
    """Write `source` in the prepared layout to `root`; with `link`, images become symbolic links to the originals.

    dataset.yaml comes last, so that an interrupted run leaves no dataset that looks whole. A pair that cannot be used is
    left out where `on_bad` takes the reason.

    Raises:
        EnetError: a split is empty, two images would get one name, `root` holds something else, a pair cannot be used (and
            `on_bad` is None), or a file cannot be written.

    """
    _check_names(source)
    _check_free(root, source)
    (root / 'dataset.yaml').unlink(missing_ok=True)
    identity = [source.name, source.labels.names, source.labels.colors, source.settings, link]
    with Journal(root / '.unfinished.jsonl', identity) as journal:
        figures = _write_pairs(root, source, link, on_bad or _refuse, journal)
        fields = {
            'name': source.name,
            'source': source.source,
            'license': source.license,
            'names': list(source.labels.names),
            'colors': [list(color) for color in source.labels.colors],
            **_totals(source, figures),
        }
        with replacing(root / 'dataset.yaml') as temporary:
            temporary.write_text(yaml.safe_dump(fields, sort_keys=False, default_flow_style=None), encoding='utf-8')
        journal.remove()
    return read_dataset(root)


def _check_names(source: SourceDataset) -> None:
    for split, pairs in source.splits.items():
        if not pairs:
            raise DatasetError(f'split {split} of {source.name} has no images: give the folder of the whole dataset')
        taken: dict[str, Path] = {}
        for pair in pairs:
            if pair.name in taken:
                raise DatasetError(
                    f'{pair.image_path} and {taken[pair.name]} would both become {split}/images/{pair.name}: rename one'
                )
            taken[pair.name] = pair.image_path


def _check_free(root: Path, source: SourceDataset) -> None:
    """Refuse a folder that holds another dataset, images of something else, or the very files that are to be read."""
    try:
        held = read_dataset(root)
    except DatasetError:  # none, or a damaged one, which this conversion mends
        held = None
    if held is not None and (held.name, held.labels) != (source.name, source.labels):
        raise DatasetError(f'{root} holds the dataset {held.name} with other classes: choose another folder or empty it')
    for split in SPLITS:
        pairs = source.splits.get(split, ())
        expected = {_image_name(pair) for pair in pairs}
        folder = root / split / 'images'
        if folder.is_dir() and (foreign := [path for path in image_files(folder) if path.name not in expected]):
            raise DatasetError(f'{root} holds other images, such as {foreign[0]}: choose another folder or empty it, also '
                               'when other images are to be held out than before')
    written = {(root / split / kind).resolve() for split in SPLITS for kind in ('images', 'labels')}
    for folder in {path.parent for pairs in source.splits.values() for pair in pairs for path in _files(pair)}:
        if folder.resolve() in written:
            raise DatasetError(f'{root} holds {folder}, which is to be converted: choose another folder')


def _write_pairs(
    root: Path, source: SourceDataset, link: bool, on_bad: Callable[[EnetError], None], journal: Journal
) -> dict[tuple[str, str], Figures]:
    """Write what the journal does not know as done, and return the figures of every image by split and name."""
    figures: dict[tuple[str, str], Figures] = {}
    todo = []
    for split, pairs in source.splits.items():
        for pair in pairs:
            done = journal.find(split, pair.name, _stamp(pair))
            if not pair.labels_path.is_file():  # told before the long work, not in the midst of it
                on_bad(DatasetError(f'{pair.image_path} has no labels {pair.labels_path}: add them or take the image out'))
                _remove(root, split, pair)
            elif done is not None and all(path.exists() for path in _targets(root, split, pair)):
                figures[split, pair.name] = done
            else:
                todo.append((split, pair))
    # threads, since OpenCV and NumPy give up the interpreter's lock, and with it comes one pool of OpenCV threads for all
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        futures = {pool.submit(_write_pair, root, source, split, pair, link, journal): (split, pair) for split, pair in todo}
        for future in tqdm(as_completed(futures), source.name, len(futures), unit='image', disable=not futures):
            split, pair = futures[future]
            result = future.result()
            if isinstance(result, Figures):
                figures[split, pair.name] = result
            else:
                on_bad(result)
                _remove(root, split, pair)
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C waits for the images at work only
    return figures


def _write_pair(
    root: Path, source: SourceDataset, split: str, pair: Pair, link: bool, journal: Journal
) -> Figures | EnetError:
    """Write one pair and return its figures, or why it cannot be used; what goes wrong in writing is raised."""
    stamp = _stamp(pair)
    try:
        image, ids = _read_pair(pair, source)
    except EnetError as error:
        return error
    image_target, labels_target = _targets(root, split, pair)
    with replacing(image_target) as temporary:
        if link:
            temporary.unlink()
            temporary.symlink_to(pair.image_path.resolve())
        else:
            shutil.copyfile(pair.image_path, temporary)
    write_image(labels_target, ids)
    mean, deviation = (statistic.reshape(-1)[::-1] / 255 for statistic in cv2.meanStdDev(image))
    counts = np.bincount(ids.reshape(-1), minlength=256)[: len(source.labels)]
    figures = Figures(counts.tolist(), mean.tolist(), (mean**2 + deviation**2).tolist())
    journal.add(split, pair.name, stamp, figures)
    return figures


def _read_pair(pair: Pair, source: SourceDataset) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if not pair.image_path.is_file():
        raise DatasetError(f'{pair.image_path}, the image of {pair.labels_path}, is missing: add it or take its labels out')
    if pair.image_path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(f'{pair.image_path} is no PNG or JPEG file by its name: convert the image to one of these')
    check_whole(pair.image_path)
    image = read_image(pair.image_path)
    ids = source.to_ids(pair)
    if image.shape[:2] != ids.shape:
        raise DatasetError(
            f'{pair.image_path} is {image.shape[1]}x{image.shape[0]} but its labels {pair.labels_path} are '
            f'{ids.shape[1]}x{ids.shape[0]}: they must be of one size'
        )
    check_ids(pair.labels_path, ids, {*range(len(source.labels)), VOID})
    return image, ids


def _totals(source: SourceDataset, figures: Mapping[tuple[str, str], Figures]) -> dict[str, Any]:
    """Return the keys of dataset.yaml that are counted; in the order of the images, so that every run gives the same."""
    pixels, of_all, of_train = {}, list[Figures](), list[Figures]()
    for split, pairs in source.splits.items():
        of_split = [figures[split, pair.name] for pair in pairs if (split, pair.name) in figures]
        if not of_split:
            raise DatasetError(f'split {split} of {source.name} has no image that can be used: mend the images')
        pixels[split] = [sum(counts) for counts in zip(*(one.counts for one in of_split))]
        of_train = of_split if split == 'train' else of_train
        of_all += of_split
    mean = np.mean([one.mean for one in of_train or of_all], 0)
    squares = np.mean([one.squares for one in of_train or of_all], 0)
    return {
        'pixels': pixels,
        'mean': [round(float(value), 4) for value in mean],
        'std': [round(float(value), 4) for value in np.sqrt(squares - mean**2)],
    }


def _image_name(pair: Pair) -> str:
    return f'{pair.name}{pair.image_path.suffix}'


def _targets(root: Path, split: str, pair: Pair) -> tuple[Path, Path]:
    return root / split / 'images' / _image_name(pair), root / split / 'labels' / f'{pair.name}.png'


def _remove(root: Path, split: str, pair: Pair) -> None:
    """Remove what an earlier run wrote when the pair was good."""
    for path in _targets(root, split, pair):
        path.unlink(missing_ok=True)


def _refuse(error: EnetError) -> None:
    raise error


def _stamp(pair: Pair) -> list[int]:
    """Return what changes when one of the pair's files does; empty where one is missing, which `_read_pair` tells."""
    stats = [path.stat() for path in _files(pair) if path.exists()]
    return [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]


def _files(pair: Pair) -> tuple[Path, Path]:
    return pair.image_path, pair.labels_path

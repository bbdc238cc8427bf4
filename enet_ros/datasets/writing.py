"""Write the prepared layout from what a converter found: on all cores, and resuming an interrupted conversion."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from enet_ros.datasets.destination import check_free, check_names, targets
from enet_ros.datasets.journal import JOURNAL, Journal
from enet_ros.datasets.prepared import SPLITS, Dataset, check_ids, check_labels_exist, check_size, read_dataset
from enet_ros.datasets.searching import RealPath
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.errors import DatasetError, EnetError
from enet_ros.files import remove_temporaries, replacing
from enet_ros.images.files import IMAGE_SUFFIXES, read_image, write_image
from enet_ros.images.integrity import check_whole
from enet_ros.labels import VOID


def write_dataset(
    root: Path, source: SourceDataset, link: bool = False, on_bad: Callable[[EnetError], None] | None = None
) -> Dataset:
    """Write `source` in the prepared layout to `root`.

    dataset.yaml is written last, when everything else is on the disk: neither an interrupted conversion nor a loss of power
    leaves a dataset that looks complete.

    Args:
        root: Folder for the prepared dataset.
        source: What to convert.
        link: Make symbolic links to the images instead of copies.
        on_bad: Called with the reason for each pair that cannot be used, and for other files that are left out. None = raise
            the reason.

    Raises:
        EnetError: a split is empty, two images would get the same name, `root` holds something else, a pair cannot be used
            or something is left out (if `on_bad` is None), or a file cannot be written.

    """
    check_names(source)
    check_free(root, source)
    on_bad = on_bad or _refuse
    found = _found(source, on_bad)  # before anything is written, and before the long work
    for folder in (root, *(root / split / kind for split in SPLITS for kind in ('images', 'labels'))):
        remove_temporaries(folder)
    identity = [source.name, source.labels.names, source.labels.colors, source.settings, link]
    with Journal(root / JOURNAL, identity) as journal:
        (root / 'dataset.yaml').unlink(missing_ok=True)  # not before the journal, which marks the folder as a conversion's
        counts = _write_pairs(root, source, found, link, on_bad, journal)
        fields = {
            'name': source.name,
            'source': source.source,
            'license': source.license,
            'names': list(source.labels.names),
            'colors': [list(color) for color in source.labels.colors],
            'pixels': _totals(source, counts),
        }
        os.sync()  # so that dataset.yaml does not outlive the images at a loss of power; once is faster than for each file
        with replacing(root / 'dataset.yaml', durable=True) as temporary:
            temporary.write_text(yaml.safe_dump(fields, sort_keys=False, default_flow_style=None), encoding='utf-8')
        journal.remove()
    return read_dataset(root)


def _found(source: SourceDataset, on_bad: Callable[[EnetError], None]) -> set[tuple[str, Pair]]:
    """Return the pairs, with their split, whose files exist where they may be."""
    found: set[tuple[str, Pair]] = set()
    real_path = RealPath()
    for split, pairs in source.splits.items():
        for pair in pairs:
            try:
                _check_files(pair)
                if source.root is not None:
                    _check_inside(pair, source.root, real_path)
            except DatasetError as error:
                on_bad(error)
            else:
                found.add((split, pair))
    for reason in source.left_out:
        on_bad(reason)
    _check_splits(source, {split for split, _ in found})
    return found


def _check_files(pair: Pair) -> None:
    if pair.name.startswith('.'):
        raise DatasetError(f'{pair.image_path} would be a hidden file, which is not read: rename it')
    if not pair.image_path.is_file():
        raise DatasetError(f'{pair.image_path}, the image of {pair.labels_path}, is missing: add it or remove its labels')
    if pair.image_path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(f'{pair.image_path} does not have the name of a PNG or JPEG file: convert it to one')
    check_labels_exist(pair.image_path, pair.labels_path)


def _check_inside(pair: Pair, root: Path, real_path: RealPath) -> None:
    for path in pair.files:
        if not real_path.is_inside(path, root):
            raise DatasetError(f'{path} is outside of {root}: move it there, or use --allow-outside')


def _write_pairs(
    root: Path, source: SourceDataset, found: set[tuple[str, Pair]], link: bool, on_bad: Callable[[EnetError], None],
    journal: Journal
) -> dict[tuple[str, str], list[int]]:
    """Write the pairs that are not in the journal, and return the pixel counts of all pairs by split and name."""
    counts: dict[tuple[str, str], list[int]] = {}
    todo = []
    for split, pairs in source.splits.items():
        for pair in pairs:
            done = journal.find(split, pair.name, _stamp(pair))
            if (split, pair) not in found:
                _remove(root, split, pair)
            elif done is not None and all(path.exists() for path in targets(root, split, pair)):
                counts[split, pair.name] = done
            else:
                todo.append((split, pair))
    # threads, not processes: OpenCV and NumPy release the interpreter lock, and all share one pool of OpenCV threads
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        futures = {pool.submit(_write_pair, root, source, split, pair, link, journal): (split, pair) for split, pair in todo}
        for future in tqdm(as_completed(futures), source.name, len(futures), unit='image', disable=not futures):
            split, pair = futures[future]
            result = future.result()
            if isinstance(result, EnetError):
                on_bad(result)
                _remove(root, split, pair)
            else:
                counts[split, pair.name] = result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, wait only for images that were started
    return counts


def _write_pair(
    root: Path, source: SourceDataset, split: str, pair: Pair, link: bool, journal: Journal
) -> list[int] | EnetError:
    """Write one pair. Return the pixels of each class, or why the pair cannot be used. Errors of writing are raised."""
    stamp = _stamp(pair)
    try:
        ids = _read_ids(pair, source)
    except EnetError as error:
        return error
    image_target, labels_target = targets(root, split, pair)
    with replacing(image_target) as temporary:
        if link:
            temporary.unlink()
            temporary.symlink_to(pair.image_path.resolve())
        else:
            shutil.copyfile(pair.image_path, temporary)
    write_image(labels_target, ids)
    counts: list[int] = np.bincount(ids.reshape(-1), minlength=256)[: len(source.labels)].tolist()
    journal.add(split, pair.name, stamp, counts)
    return counts


def _read_ids(pair: Pair, source: SourceDataset) -> NDArray[np.uint8]:
    """Check the image of a pair and return its labels as class ids (H x W, uint8, 255 = void)."""
    check_whole(pair.image_path)
    image = read_image(pair.image_path)
    ids = source.to_ids(pair, (image.shape[0], image.shape[1]))
    check_size(pair.image_path, image, pair.labels_path, ids)
    check_ids(pair.labels_path, ids, {*range(len(source.labels)), VOID})
    return ids


def _check_splits(source: SourceDataset, usable: set[str]) -> None:
    for split in source.splits:
        if split not in usable:
            raise DatasetError(f'no image of split {split} of {source.name} can be used: correct the images')


def _totals(source: SourceDataset, counts: Mapping[tuple[str, str], list[int]]) -> dict[str, list[int]]:
    """Return the pixels of each class in each split."""
    _check_splits(source, {split for split, _ in counts})
    totals = {}
    for split, pairs in source.splits.items():
        of_split = [counts[split, pair.name] for pair in pairs if (split, pair.name) in counts]
        totals[split] = [sum(pixels) for pixels in zip(*of_split)]
    return totals


def _remove(root: Path, split: str, pair: Pair) -> None:
    """Remove the files that an earlier conversion wrote when the pair was good."""
    for path in targets(root, split, pair):
        path.unlink(missing_ok=True)


def _refuse(error: EnetError) -> None:
    raise error


def _stamp(pair: Pair) -> list[int]:
    """Return the sizes and modification times of the pair's files, without those that are missing."""
    stats = [path.stat() for path in pair.files if path.exists()]
    return [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]

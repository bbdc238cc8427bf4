"""labelme (github.com/wkentaro/labelme): a JSON file of named shapes beside each annotated image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.datasets.annotations import check_declared_size, class_id, portable_path
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.parsing import parsing, read_json
from enet_ros.datasets.searching import PICTURE_SUFFIXES, by_folder, files_in, files_of, unused_files
from enet_ros.datasets.shapes import Canvas, import_pillow
from enet_ros.datasets.source import Pair, Size, SourceDataset
from enet_ros.datasets.splitting import Choice, find_pairs, hold_out
from enet_ros.errors import DatasetError
from enet_ros.images.files import IMAGE_SUFFIXES, image_files

_REMEDY = 'save it with labelme again'


def find_labelme(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the annotated images in `root`, or in its train/, val/ and test/. `choice` selects those to hold out of train.

    Raises:
        ImageFileError: a folder cannot be read.
        DatasetError: the classes file is not valid, there is no JSON file, one cannot be read, two annotate the same image,
            or some are in no split, or Pillow is not installed.

    """
    import_pillow()  # before the work starts
    classes = read_classes(classes_path)
    is_flat = _holds_json(root) and bool(image_files(root))
    splits = find_pairs(root, 'JSON files of labelme', _holds_json, _pairs, is_flat)
    used = set(files_of(splits))
    stems = {path.with_suffix('') for path in used if path.suffix.lower() == '.json'}
    # such an image may be an exported mask
    beside = [path for path in files_in(root, PICTURE_SUFFIXES) if path not in used and path.with_suffix('') in stems]
    others = [path for path in files_in(root, ('.json',)) if path not in used and not _may_annotate(path)]
    return classes.dataset(
        hold_out(splits, choice), lambda pair, size: _draw(pair, size, classes), root,
        [*unused_files(root, [*used, *beside], 'images that are not annotated or in no split'),
         *unused_files(root, [*used, *others], 'JSON files of labelme that are in no split', ('.json',))],
        by_folder(beside, 'images with the name of an annotated one'),
    )


def _json_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob('[!.]*') if path.suffix.lower() == '.json')


def _may_annotate(path: Path) -> bool:
    """Return whether a JSON file is one of labelme, or damaged."""
    try:
        return 'shapes' in read_json(path, _REMEDY)
    except DatasetError:
        return True


def _holds_json(folder: Path) -> bool:
    return bool(_json_files(folder))


def _pairs(folder: Path) -> list[Pair]:
    files = _json_files(folder)
    if not files:
        raise DatasetError(f'no JSON files of labelme in {folder}: save the annotations beside the images')
    of_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('[!.]*')):
        of_stem.setdefault(path.stem, []).append(path)
    pairs: dict[Path, Pair] = {}
    for path in files:
        pair = Pair(_image_path(path, [other for other in of_stem[path.stem] if other != path]), path, path.stem)
        if (other := pairs.setdefault(pair.image_path.resolve(), pair)) is not pair:
            raise DatasetError(f'{other.labels_path} and {path} both annotate {pair.image_path}: remove one of them')
    return list(pairs.values())


def _image_path(path: Path, of_same_stem: list[Path]) -> Path:
    """Return the image that a JSON file annotates: the only other file of the same stem, else the one that it names."""
    images = [other for other in of_same_stem if other.suffix.lower() in IMAGE_SUFFIXES]
    if len(of_same_stem) == len(images) == 1:
        return images[0]
    named = read_json(path, _REMEDY).get('imagePath')
    with parsing(path, _REMEDY):
        name = portable_path(named if isinstance(named, str) and named else f'{path.stem}.jpg')
    if (path.parent / name).is_file():
        return path.parent / name
    return images[0] if len(images) == 1 else path.with_name(name.name)


def _draw(pair: Pair, size: Size, classes: Classes) -> NDArray[np.uint8]:
    """Draw the shapes of a file in their order, so that later shapes cover earlier ones."""
    path = pair.labels_path
    fields = read_json(path, _REMEDY)
    with parsing(path, _REMEDY):
        check_declared_size(fields['imageHeight'], fields['imageWidth'], size)
        canvas = Canvas(size, classes.rest)
        for shape in fields['shapes']:
            canvas.draw(shape, class_id(str(path), shape['label'], classes.names))
        return canvas.ids()

"""Pascal VOC's segmentation layout (Everingham et al. 2010), which CVAT ("Segmentation mask") and labelme2voc write, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from enet_ros.datasets.annotations import class_id, portable_path
from enet_ros.datasets.classes import Classes, read_classes
from enet_ros.datasets.coding import Coding
from enet_ros.datasets.parsing import parsing
from enet_ros.datasets.searching import PICTURE_SUFFIXES, by_folder, files_in, files_of, unused_files
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.splitting import UNSPLIT, Choice, hold_out, split_named
from enet_ros.errors import DatasetError, one_line, quoted
from enet_ros.files import read_bytes
from enet_ros.images.files import IMAGE_SUFFIXES
from enet_ros.labels import VOID, Color

_CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
    'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)
_BACKGROUND = ('background', '_background_')  # the second is labelme's
_REMEDY = 'export the dataset again'
_MAX_BYTES = 2**26
"""Most bytes of a list of images or classes."""


def find_voc(root: Path, classes_path: Path, choice: Choice | None) -> SourceDataset:
    """Find the images and masks in `root`. `choice` selects the images to hold out of train.

    The lists in ImageSets/Segmentation/ are the splits. Without them, or with a list of another name, there are none yet.
    The classes in the masks are those of labelmap.txt (CVAT) or class_names.txt (labelme2voc), else the 21 of Pascal VOC.

    Raises:
        DatasetError: the classes file is not valid, images or masks are missing, a list or the file of classes cannot be
            read or contradicts itself, or the classes file lacks a class.

    """
    classes = read_classes(classes_path)
    images_folder = root / 'JPEGImages'
    images = _by_name(images_folder, IMAGE_SUFFIXES)
    # earlier versions of labelme2voc write arrays to the first of the folders
    folders = [root / 'SegmentationClass', root / 'SegmentationClassPNG']
    masks_folder = next((folder for folder in folders if any(files_in(folder, ('.png',)))), folders[0])
    masks = _by_name(masks_folder, ('.png',))
    if not images or not masks:
        raise DatasetError(f'no images in {images_folder} or no PNGs in {folders[0]}: pass the folder that holds both')
    splits = _splits(root) or {UNSPLIT: list(masks)}
    names = [name for of_split in splits.values() for name in of_split]
    are_short = len({_short(name) for name in names}) == len(names)

    def pair(name: str) -> Pair:
        image_path, labels_path = images.get(name, images_folder / f'{name}.jpg'), masks_folder / f'{name}.png'
        return Pair(image_path, masks.get(name, labels_path), _short(name) if are_short else name.replace('/', '_'))

    pairs = {split: [pair(name) for name in of_split] for split, of_split in splits.items()}
    where, labelmap = _labelmap(root)
    coding = _coding(where, labelmap, classes)
    used = files_of(pairs)
    # VOC's other tasks have images of their own, in lists of their own
    of_tasks = {images[name] for path in files_in(root / 'ImageSets', ('.txt',)) if path.parent.name != 'Segmentation'
                for name in _names(path, has_columns=True) if name in images}
    others = sorted(of_tasks.difference(used))
    # such as SegmentationObject/ with the same masks in other colours
    forms = [path for path in files_in(root, PICTURE_SUFFIXES)
             if path.relative_to(root).parts[0].startswith('Segmentation') and masks_folder not in path.parents]
    source = classes.dataset(
        hold_out(pairs, choice), lambda one, _: coding.read(one.labels_path), root,
        unused_files(root, [*used, *others, *forms], 'images or masks in no list or without a counterpart'),
        [*by_folder(others, "images of Pascal VOC's other tasks"), *by_folder(forms, 'masks of another form')],
    )
    return replace(source, settings=f'{source.settings} {labelmap}')


def _by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files by their paths below `folder`, with slashes and without suffixes."""
    files: dict[str, Path] = {}
    for path in files_in(folder, suffixes):
        name = path.relative_to(folder).as_posix().removesuffix(path.suffix)
        if (other := files.setdefault(name, path)) is not path:
            raise DatasetError(f'{other} and {path} have the same name: remove one')
    return files


def _short(name: str) -> str:
    return name.rpartition('/')[2]


def _splits(root: Path) -> dict[str, list[str]]:
    """Return the names in the lists by split, or all as `UNSPLIT` if no list is named after a split."""
    lists = {path: _names(path) for path in files_in(root / 'ImageSets' / 'Segmentation', ('.txt',))}
    splits: dict[str, list[str]] = {}
    split_of: dict[str, str] = {}
    for path, names in lists.items():
        if split := split_named(path.stem):
            splits.setdefault(split, []).extend(names)
            for name in names:
                if split_of.setdefault(name, split) != split:
                    raise DatasetError(f'{path} lists {name}, and so does that of {split_of[name]}: remove it from one')
    if not splits:
        return {UNSPLIT: list(dict.fromkeys(name for names in lists.values() for name in names))} if lists else {}
    for path, names in lists.items():  # such as trainval.txt
        if alone := [name for name in names if name not in split_of]:
            raise DatasetError(f'{path} lists {alone[0]}, which the lists of {", ".join(splits)} lack: add it to one')
    return {split: list(dict.fromkeys(names)) for split, names in splits.items()}


def _names(path: Path, has_columns: bool = False) -> list[str]:
    """Return the names in a list of images, one in each line. `has_columns` means that a number may follow it."""
    names = []
    for line in _lines(path):
        if line.startswith('"'):  # CVAT quotes names with spaces in lists with columns
            line = line.split('"')[1]
        elif has_columns:
            line = line.split()[0]
        with parsing(path, _REMEDY):
            names.append(portable_path(line).as_posix())
    return names


def _lines(path: Path) -> list[str]:
    try:
        lines = read_bytes(path, _MAX_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'cannot read {path}: {one_line(error)}; {_REMEDY}') from error
    return [line.strip() for line in lines if line.strip()]


def _labelmap(root: Path) -> tuple[Path, dict[str, Color]]:
    """Return the colours of the classes in the masks, in the order of their ids, and where they are defined."""
    path = root / 'labelmap.txt'
    if not path.exists():
        path = root / 'class_names.txt'
        names = _lines(path) if path.exists() else _CLASSES
        return path if path.exists() else root, {name: _voc_color(index) for index, name in enumerate(names)}
    labelmap: dict[str, Color] = {}
    for line in _lines(path):
        if not line.startswith('#'):
            with parsing(path, _REMEDY):
                name, color, _, _ = line.rsplit(':', 3)  # the last two are parts and actions
                red, green, blue = bytes(int(value) for value in color.split(','))
                if name in labelmap:
                    raise ValueError(f'class {quoted(name)} occurs twice')
                labelmap[name] = red, green, blue
    return path, labelmap


def _voc_color(index: int) -> Color:
    """Return Pascal VOC's colour of a class id: red, green and blue get its bits in turn, the lowest as their highest."""
    red, green, blue = (sum((index >> 3 * step + channel & 1) << 7 - step for step in range(3)) for channel in range(3))
    return red, green, blue


def _coding(where: Path, labelmap: Mapping[str, Color], classes: Classes) -> Coding:
    """Return what the ids and colours in the masks mean. Background that is no class of the user's is the rest."""
    ids: dict[int, int] = {}
    colors: dict[Color, int] = {}
    for index, (name, color) in enumerate(labelmap.items()):
        is_rest = name in _BACKGROUND and name not in classes.names
        meaning = classes.rest if is_rest else class_id(str(where), name, classes.names)
        if index < VOID:  # more classes only fit into masks of colours
            ids[index] = meaning
        if colors.setdefault(color, meaning) != meaning:
            raise DatasetError(f'{where}: class {quoted(name)} has the colour {color} of another class: {_REMEDY}')
    return Coding({VOID: VOID, **ids}, {_voc_color(255): VOID, **colors})

"""Read and write image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageFileError, one_line
from enet_ros.files import write_bytes

JPEG_SUFFIXES = ('.jpg', '.jpeg')
IMAGE_SUFFIXES = ('.png', *JPEG_SUFFIXES)


def image_files(folder: Path) -> list[Path]:
    """Return the images in `folder`, sorted by name. Hidden files, such as temporary ones, are ignored.

    Raises:
        ImageFileError: the folder cannot be read.

    """
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise ImageFileError(f'cannot read folder {folder}: {one_line(error)}') from error
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')]


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as H x W x 3, uint8, BGR (OpenCV's order).

    Raises:
        ImageFileError: the file is missing, damaged or not an image.

    """
    return read_pixels(path, cv2.IMREAD_COLOR)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Read a label image as H x W class ids, uint8.

    Raises:
        ImageFileError: the file is missing, damaged, not an image, or does not have one 8-bit channel.

    """
    labels = read_pixels(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ImageFileError(f'{path} has shape {labels.shape} and type {labels.dtype}: '
                             'label images must have one 8-bit channel of class ids')
    return labels


def read_pixels(path: Path, flags: int) -> NDArray[np.uint8]:
    """Read an image file with the given flags of `cv2.imdecode`.

    Raises:
        ImageFileError: the file is missing, damaged or not an image.

    """
    try:
        # not cv2.imread, which crashes on file names that are not UTF-8
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags) if path.is_file() else None
    except (cv2.error, OSError):  # empty, or larger than OpenCV reads; a name that is too long
        pixels = None
    if pixels is None:
        raise ImageFileError(f'{path} is missing, damaged or not an image: replace it')
    return pixels


def encode_image(suffix: str, image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Return an image as a file of the format of `suffix`, such as .png.

    The image is uint8: H x W, H x W x 3 in BGR order, or, for .png, H x W x 4 in BGRA order. `quality` is that of a JPEG,
    1 to 100.

    Raises:
        EnetError: the suffix is not an image format.

    """
    try:
        # OpenCV warns of parameters for another format
        parameters = (cv2.IMWRITE_JPEG_QUALITY, quality) if suffix in JPEG_SUFFIXES else ()
        return cv2.imencode(suffix, image, parameters)[1].tobytes()
    except cv2.error as error:
        raise EnetError(f'unknown image format "{suffix}": use .png or .jpg') from error


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H x W, or H x W x 3 in BGR order, uint8) in the format of the suffix.

    Raises:
        EnetError: the file cannot be written, or the suffix is not an image format.

    """
    write_bytes(path, encode_image(path.suffix, image))  # not cv2.imwrite, which does not report a full disk

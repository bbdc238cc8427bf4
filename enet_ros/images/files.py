"""Read and write image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enet_ros.errors import EnetError, ImageError, ImageFileError, one_line
from enet_ros.files import read_bytes, write_bytes
from enet_ros.images.image_header import is_whole, read_header, without_metadata
from enet_ros.images.messages import MAX_PIXELS

JPEG_SUFFIXES = ('.jpg', '.jpeg')
IMAGE_SUFFIXES = ('.png', *JPEG_SUFFIXES)
MAX_FILE_BYTES = 8 * MAX_PIXELS + 2**24
"""Most bytes of an image file: four channels of 16 bits that cannot be compressed, and metadata."""
_DRAWN_METADATA = (b'tRNS', b'eXIf')
"""The chunks of a PNG, beside those with pixels, that change what OpenCV returns: transparency and orientation."""


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
        ImageFileError: the file is missing, damaged, neither PNG nor JPEG, or too large.

    """
    return read_pixels(path, cv2.IMREAD_COLOR)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Read a label image as H x W class ids, uint8.

    Raises:
        ImageFileError: the file is missing, damaged, neither PNG nor JPEG, too large, or does not have one 8-bit channel.

    """
    labels = read_pixels(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ImageFileError(f'{path} has shape {labels.shape} and type {labels.dtype}: '
                             'label images must have one 8-bit channel of class ids')
    return labels


def read_pixels(path: Path, flags: int) -> NDArray[np.uint8]:
    """Read a PNG or JPEG file with the given flags of `cv2.imdecode`.

    Raises:
        ImageFileError: the file cannot be read, or `decode_file` refuses it.

    """
    try:
        data = read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ImageFileError(f'cannot read {path}: {one_line(error)}') from error
    return decode_file(data, flags, path)


def decode_file(data: bytes, flags: int, where: object) -> NDArray[np.uint8]:
    """Decode the content of a PNG or JPEG file with the given flags of `cv2.imdecode`. Errors start with `where`.

    Raises:
        ImageFileError: the data is damaged, incomplete, neither PNG nor JPEG, or states more than MAX_PIXELS pixels.

    """
    try:
        header = read_header(data)
        # not cv2.imread, which crashes on file names that are not UTF-8
        drawn = np.frombuffer(without_metadata(data, _DRAWN_METADATA), np.uint8)
        small = header.width * header.height <= MAX_PIXELS
        pixels = cv2.imdecode(drawn, flags) if small and is_whole(data) else None
    except (ImageError, cv2.error):
        small, pixels = True, None
    if not small:
        raise ImageFileError(f'{where} has {header.width}x{header.height} pixels, more than {MAX_PIXELS}: '
                             'scale it down or cut it into parts')
    if pixels is None:
        raise ImageFileError(f'{where} is damaged, incomplete or not an image in PNG or JPEG format: replace it')
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
        parameters = (cv2.IMWRITE_JPEG_QUALITY, quality) if suffix.lower() in JPEG_SUFFIXES else ()
        return cv2.imencode(suffix, image, parameters)[1].tobytes()
    except cv2.error as error:
        raise EnetError(f'unknown image format "{suffix}": use .png or .jpg') from error


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H x W, or H x W x 3 in BGR order, uint8) in the format of the suffix.

    Raises:
        EnetError: the file cannot be written, or the suffix is not an image format.

    """
    write_bytes(path, encode_image(path.suffix, image))  # not cv2.imwrite, which does not report a full disk

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from enet_ros.errors import EnetError, ImageFileError
from enet_ros.images.files import image_files, read_image, read_labels, write_image


def test_a_png_keeps_its_pixels(tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_image(tmp_path / 'x.png', image)
    assert (cv2.imread(str(tmp_path / 'x.png')) == image).all()


def test_an_unknown_image_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'unknown image format ".xyz"'):
        write_image(tmp_path / 'x.xyz', np.zeros((2, 2), np.uint8))
    assert not list(tmp_path.iterdir())


def test_hidden_files_and_other_files_are_not_images(tmp_path: Path) -> None:
    for name in ('b.JPG', 'a.png', '.c.png'):
        write_image(tmp_path / name, np.zeros((2, 2), np.uint8))
    (tmp_path / 'notes.txt').write_text('')
    assert [path.name for path in image_files(tmp_path)] == ['a.png', 'b.JPG']
    with pytest.raises(ImageFileError, match=r'cannot read folder .*none: No such file'):
        image_files(tmp_path / 'none')


@pytest.mark.parametrize('content', [None, b'', b'not an image'], ids=['missing', 'empty', 'text'])
def test_a_file_that_is_not_an_image_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(ImageFileError, match=r'x\.png is missing, damaged or not an image'):
        read_image(tmp_path / 'x.png')


def test_label_images_with_colours_or_16_bits_are_refused(tmp_path: Path) -> None:
    for pixels in (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint16)):
        write_image(tmp_path / 'x.png', pixels)
        with pytest.raises(ImageFileError, match=r'x\.png has shape .* one 8-bit channel'):
            read_labels(tmp_path / 'x.png')

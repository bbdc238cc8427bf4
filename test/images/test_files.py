from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_data import png, text_bomb, with_frame_size
from resource_limits import memory_limit

from enet_ros.errors import EnetError, ImageFileError
from enet_ros.images.files import encode_image, image_files, read_image, read_labels, read_pixels, write_image
from enet_ros.images.synthetic import draw_scene

IMAGE = draw_scene(3, 96, 64)[0]
JPEG = cv2.imencode('.jpg', IMAGE)[1].tobytes()
PNG = cv2.imencode('.png', IMAGE)[1].tobytes()


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


@pytest.mark.parametrize('content', [
    b'', b'not an image', cv2.imencode('.bmp', IMAGE)[1].tobytes(), cv2.imencode('.tiff', IMAGE)[1].tobytes(),
    JPEG[:len(JPEG) // 2], PNG[:len(PNG) // 2],
], ids=['empty', 'text', 'bmp', 'tiff', 'half a jpeg', 'half a png'])
def test_a_file_that_is_not_a_whole_png_or_jpeg_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(ImageFileError, match=r'x\.png is damaged, incomplete or not an image in PNG or JPEG format'):
        read_image(tmp_path / 'x.png')


@pytest.mark.parametrize('name', ['none.png', 'x\0.png', 'x' * 300 + '.png', 'pipe.png', '.'],
                         ids=['missing', 'NUL', 'too long', 'named pipe', 'folder'])
def test_a_path_that_is_not_that_of_a_file_is_named(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(ImageFileError, match=rf'cannot read {tmp_path}.*: '):
        read_image(tmp_path / name)


@pytest.mark.parametrize('data', [
    png(1_000_000, 1_000, 1), png(2**31 - 1, 1, 1), png(7072, 7072, 1), with_frame_size(JPEG, 65535, 65535),
], ids=['png', 'wide png', 'slightly too large', 'jpeg'])
def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(data: bytes, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(data)
    with pytest.raises(ImageFileError, match=r'x\.png has \d+x\d+ pixels, more than 50000000'), memory_limit(200 * 2**20):
        read_labels(tmp_path / 'x.png')


def test_compressed_metadata_does_not_reach_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda data, flags: sizes.append(len(data)) or original(data, flags))
    (tmp_path / 'x.png').write_bytes(text_bomb(2))  # 14 kB that expand to 14 MB
    assert read_image(tmp_path / 'x.png').shape == (4, 4, 3)
    assert sizes[0] < 200


def test_orientation_and_transparency_of_a_png_are_kept(tmp_path: Path) -> None:
    exif = b'MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'  # rotate by 90 degrees
    (tmp_path / 'x.png').write_bytes(png(4, 2, 2, [(b'eXIf', exif)]))
    assert read_image(tmp_path / 'x.png').shape == (4, 2, 3)
    (tmp_path / 'x.png').write_bytes(png(4, 2, 2, [(b'tRNS', bytes(6))]))
    assert read_pixels(tmp_path / 'x.png', cv2.IMREAD_UNCHANGED).shape == (2, 4, 4)


def test_label_images_with_colours_or_16_bits_are_refused(tmp_path: Path) -> None:
    for pixels in (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint16)):
        write_image(tmp_path / 'x.png', pixels)
        with pytest.raises(ImageFileError, match=r'x\.png has shape .* one 8-bit channel'):
            read_labels(tmp_path / 'x.png')


def test_the_quality_holds_for_suffixes_in_capitals() -> None:
    image = draw_scene(0, 96, 64)[0]
    assert len(encode_image('.JPG', image, 10)) < len(encode_image('.JPG', image, 95))

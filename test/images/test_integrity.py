from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from enet_ros.errors import ImageFileError
from enet_ros.images.integrity import check_whole
from enet_ros.images.synthetic import draw_scene

IMAGE = draw_scene(3, 96, 64)[0]


def encode(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, IMAGE, options)[1].tobytes()


FILES = {
    'png': encode('.png'),
    'jpg': encode('.jpg'),
    'progressive jpg': encode('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'jpg with restarts': encode('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


def with_thumbnail(jpeg: bytes) -> bytes:
    """Put a complete JPEG into the first segment of another, as cameras do."""
    thumbnail = b'Exif\0\0' + FILES['jpg']
    return jpeg[:2] + b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail + jpeg[2:]


@pytest.mark.parametrize('data', FILES.values(), ids=FILES)
def test_complete_files_pass_and_truncated_files_do_not(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'image'
    path.write_bytes(data)
    check_whole(path)
    path.write_bytes(data + b'\xff\xda\x00 appended by a phone')
    check_whole(path)
    for length in range(8, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(ImageFileError, match=r'image is damaged or truncated'):
            check_whole(path)
    path.write_bytes(data[:-1])
    with pytest.raises(ImageFileError):
        check_whole(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_jpeg(tmp_path: Path) -> None:
    data = with_thumbnail(FILES['jpg'])
    path = tmp_path / 'x.jpg'
    path.write_bytes(data)
    check_whole(path)
    path.write_bytes(data[:-100])
    assert cv2.imread(str(path)) is not None  # OpenCV fills the rest
    with pytest.raises(ImageFileError, match=r'x.jpg is damaged or truncated'):
        check_whole(path)


def test_a_png_with_a_damaged_byte_is_refused(tmp_path: Path) -> None:
    data = bytearray(FILES['png'])
    data[len(data) // 2] ^= 1
    (tmp_path / 'x.png').write_bytes(data)
    with pytest.raises(ImageFileError, match=r'x.png is damaged'):
        check_whole(tmp_path / 'x.png')


def test_real_images_are_complete(camvid: Path) -> None:
    for path in sorted((camvid / 'val').iterdir())[:10]:
        check_whole(path)




def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'x.png')
    with pytest.raises(ImageFileError, match='not a regular file'):
        check_whole(tmp_path / 'x.png')

from __future__ import annotations

import zlib

import cv2
import pytest
from image_data import png, with_scans

from enet_ros.errors import ImageError
from enet_ros.images.image_header import ImageHeader, is_whole, read_header, without_metadata
from enet_ros.images.synthetic import draw_scene

IMAGE = draw_scene(3, 96, 64)[0]
GREY = IMAGE[..., 0].copy()
JPEG = cv2.imencode('.jpg', IMAGE)[1].tobytes()
PROGRESSIVE = cv2.imencode('.jpg', IMAGE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes()
FRAME = b'\xff\xc0\0\x11\x08\0\x08\0\x08\x03\1\x11\0\2\x11\1\3\x11\1'  # a start of frame that states 8x8


@pytest.mark.parametrize(('data', 'grey'), [
    (cv2.imencode('.png', IMAGE)[1].tobytes(), False),
    (cv2.imencode('.png', GREY)[1].tobytes(), True),
    (JPEG, False),
    (PROGRESSIVE, False),
    (cv2.imencode('.jpg', GREY)[1].tobytes(), True),
    (JPEG[:2] + b'\xff\xff' + JPEG[2:], False),
], ids=['png', 'grey png', 'jpeg', 'progressive jpeg', 'grey jpeg', 'jpeg with fill bytes'])
def test_the_header_states_size_and_channels(data: bytes, grey: bool) -> None:
    assert read_header(data) == read_header(memoryview(data)) == ImageHeader(96, 64, grey, 8)


@pytest.mark.parametrize('data', [
    JPEG[:2] + b'\xff\xd0\0\2' + FRAME + JPEG[2:],
    JPEG[:2] + b'\0' + FRAME + JPEG[2:],
    JPEG[:2] + b'\xff\xe0\0\1' + FRAME + JPEG[2:],
    JPEG[:2] + b'\xff\xe0\0\2' * 1001 + JPEG[2:],
    JPEG[:2] + b'\xff' * 10_000,
    JPEG[:2],
    b'\x89PNG\r\n\x1a\n',
    png(96, 64, 64)[:32],
    png(96, 64, 64).replace(b'IHDR', b'IHDX'),
], ids=['restart marker', 'no marker', 'short segment', 'too many segments', 'fill bytes only', 'jpeg magic', 'png magic',
        'short png', 'png without header'])
def test_a_header_that_decoders_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match='damaged or incomplete header'):
        read_header(data)


def test_the_pixels_of_a_png_survive_without_its_metadata() -> None:
    data = png(8, 4, 4, [(b'tEXt', b'key\0value'), (b'acTL', bytes(8))])
    plain = without_metadata(data)
    assert plain == png(8, 4, 4) != data


def test_a_jpeg_with_absurdly_many_scans_is_refused() -> None:
    assert without_metadata(PROGRESSIVE) == PROGRESSIVE
    with pytest.raises(ImageError, match='more than 32 scans'):
        without_metadata(with_scans(PROGRESSIVE, 32))


def _png_with(*pixels: bytes) -> bytes:
    chunks = ((len(data).to_bytes(4, 'big'), b'IDAT' + data) for data in pixels)
    whole = b''.join(length + body + zlib.crc32(body).to_bytes(4, 'big') for length, body in chunks)
    plain = png(4, 4, 4)
    return plain[:33] + whole + plain[-12:]


def test_a_png_with_compressed_data_for_many_more_pixels_is_refused() -> None:
    data = zlib.compress(bytes(4 * 13))
    assert without_metadata(_png_with(data))
    with pytest.raises(ImageError, match='more compressed data than its pixels need'):
        without_metadata(_png_with(data, bytes(100_000)))


def test_a_png_with_absurdly_many_chunks_is_not_whole() -> None:
    data = zlib.compress(bytes(4 * 13))
    assert is_whole(_png_with(data, *[b''] * 1000)) and not is_whole(_png_with(data, *[b''] * 60_000))

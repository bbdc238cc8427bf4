"""Image messages, compressed image messages and image files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from fuzz_inputs import MEGABYTE, damaged, reads
from hypothesis import given, settings
from hypothesis import strategies as st
from image_data import png, text_bomb, with_frame_size, with_scans

from enet_ros.images.encodings import ENCODINGS
from enet_ros.images.files import read_image, read_labels
from enet_ros.images.messages import ImageReader
from enet_ros.images.synthetic import draw_scene
from enet_ros.replay.ground_truth import read_ids

MAX_PIXELS = 10_000
_MORE = settings(max_examples=4 * settings.default.max_examples)  # they take milliseconds
_SCENE = draw_scene(5, 96, 64)[0]
_EXTREMES = (0, 1, 3, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_NAMES = st.sampled_from(('rgb8', 'bgr8', 'mono8', 'mono16')) | st.sampled_from(list(ENCODINGS))
_FOREIGN_NAMES = ('8UC3', '16UC1', '32FC1', '', 'jpeg', 'RGB8', 'rgb8\n\x1b[31m', 'x' * 100_000)


def _encoded(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


_GREY = _SCENE[..., 0].copy()
IMAGES = (
    _encoded('.png', _SCENE), _encoded('.png', _GREY), _encoded('.png', _GREY * np.uint16(257)),
    _encoded('.png', _GREY, cv2.IMWRITE_PNG_BILEVEL, 1),
    _encoded('.png', np.dstack([_SCENE, _GREY])), _encoded('.jpg', _SCENE), _encoded('.jpg', _GREY),
    _encoded('.jpg', _SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), _encoded('.jpg', _SCENE, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    png(4, 4, 4, [(b'tRNS', b'\0' * 6), (b'eXIf', b'MM\0*\0\0\0\x08\0\0')]), png(1_000_000, 1_000, 2), text_bomb(3),
    with_frame_size(_encoded('.jpg', _SCENE), 65535, 65535), _encoded('.png', np.zeros((100, 101, 3), np.uint8)),
    with_scans(_encoded('.jpg', _SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 40),
    *(_encoded(suffix, _SCENE) for suffix in ('.bmp', '.tiff', '.webp', '.ppm')), b'GIF89a' + bytes(50), b'',
)
"""Files of all kinds, among them bombs, other formats, and sizes that are too large."""
encoded_images = st.sampled_from(IMAGES).flatmap(lambda image: st.just(image) | damaged(image, 64) | st.binary(max_size=200))


@st.composite
def _messages(draw: st.DrawFn) -> SimpleNamespace:
    """Return an Image, of which half have up to two wrong fields."""
    name, width, height = draw(_NAMES), 2 * draw(st.integers(1, 20)), 2 * draw(st.integers(1, 20))
    encoding = ENCODINGS[name]
    step = width * encoding.pixel_bytes + draw(st.sampled_from((0, 0, 7)))
    size = max(0, step * encoding.rows(height) - draw(st.sampled_from((0, 0, 0, 1))))
    data = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, size, np.uint8)
    message = SimpleNamespace(width=width, height=height, encoding=name, step=step,
                              data=draw(st.sampled_from((data, bytes(data)))),
                              is_bigendian=draw(st.sampled_from((0, 1, 255))))
    wrong = {'width': _EXTREMES, 'height': _EXTREMES, 'step': _EXTREMES, 'encoding': _FOREIGN_NAMES}
    for field in draw(st.sampled_from(((), (), ())) | st.lists(st.sampled_from(sorted(wrong)), max_size=2)):
        setattr(message, field, draw(st.sampled_from(wrong[field])))
    return message


def _check_pixels(pixels: np.ndarray, width: int, height: int) -> None:
    assert pixels.shape == (height, width, 3) and pixels.dtype == np.uint8
    pixels.sum()  # views must not go beyond the message


@_MORE
@given(_messages())
def test_an_image_message_is_read_or_refused(message: SimpleNamespace) -> None:
    reader = ImageReader(MAX_PIXELS)
    is_checked = reads(lambda: reader.check(message) or True)
    if found := reads(lambda: reader.read(message)):
        assert is_checked  # the callback of the camera must not refuse what can be read
        _check_pixels(found[0], message.width, message.height)
    ids = reads(lambda: read_ids(message))
    assert ids is None or ids.shape[:2] == (message.height, message.width)


@_MORE
@given(encoded_images, st.sampled_from((
    'jpeg', 'png', 'rgb8; jpeg compressed bgr8', 'bayer_rggb8; png compressed ', 'bayer_x', 'bayer_gbrg16; png compressed ',
    '16UC1; compressedDepth', '', '\x1b[31m\n' * 1000,
)))
def test_a_compressed_image_message_is_read_or_refused(data: bytes, encoding: str) -> None:
    reader, message = ImageReader(MAX_PIXELS), SimpleNamespace(format=encoding, data=np.frombuffer(data, np.uint8))
    is_checked = reads(lambda: reader.check(message) or True, memory=100 * MEGABYTE)
    if found := reads(lambda: reader.read_compressed(message), memory=100 * MEGABYTE):
        assert is_checked
        height, width = found[0].shape[:2]
        assert 0 < height * width <= MAX_PIXELS
        _check_pixels(found[0], width, height)
    ids = reads(lambda: read_ids(message))
    assert ids is None or ids.ndim in (2, 3)


@_MORE
@given(data=encoded_images)
def test_an_image_file_is_read_or_refused(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    image, labels = reads(lambda: read_image(path)), reads(lambda: read_labels(path))
    if image is not None:
        _check_pixels(image, image.shape[1], image.shape[0])
    if labels is not None:
        assert labels.ndim == 2 and labels.dtype == np.uint8

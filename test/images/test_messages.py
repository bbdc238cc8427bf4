"""Image messages as drivers send them. Tests of encodings run with each library that is installed."""

from __future__ import annotations

import random
import resource
from contextlib import suppress
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from image_data import png, text_bomb, with_frame_size

from enet_ros.errors import ImageMessageError
from enet_ros.images.converters import Converter, CvBridgeConverter, RosbagsConverter, usable_converters
from enet_ros.images.encodings import ENCODINGS
from enet_ros.images.messages import ImageReader

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
SMOOTH = np.ascontiguousarray(cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC))


def _converter(name: str) -> Converter:
    if name == 'rosbags':
        return RosbagsConverter()
    try:
        return CvBridgeConverter()
    except ImportError:
        pytest.skip('cv_bridge is not installed: it comes with a ROS installation (ros-<distro>-cv-bridge)')


@pytest.fixture(params=['rosbags', 'cv_bridge'])
def reader(request: pytest.FixtureRequest) -> ImageReader:
    return ImageReader(converters=[_converter(request.param)])


def _message(pixels: np.ndarray, encoding: str, padding: int = 0, height: int | None = None) -> SimpleNamespace:
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    big = int(pixels.dtype.byteorder == '>')
    return SimpleNamespace(width=pixels.shape[1], height=height or pixels.shape[0], encoding=encoding, is_bigendian=big,
                           step=padded.shape[1], data=padded.tobytes())


def _read_rgb(reader: ImageReader, message: SimpleNamespace) -> np.ndarray:
    pixels, channels = reader.read(message)
    return pixels if channels == 'rgb' else pixels[..., ::-1]


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('encoding', 'pixels'), [
    ('rgb8', RGB),
    ('bgr8', RGB[..., ::-1].copy()),
    ('rgba8', np.dstack((RGB, RGB[..., 0]))),
    ('bgra8', np.dstack((RGB[..., ::-1], RGB[..., 0]))),
    ('rgb16', RGB.astype('<u2') * 257),
    ('bgr16', RGB[..., ::-1].astype('<u2') * 257),
    ('rgb16', (RGB.astype('<u2') * 257).astype('>u2')),
], ids=['rgb8', 'bgr8', 'rgba8', 'bgra8', 'rgb16', 'bgr16', 'rgb16 big-endian'])
def test_color_encodings_are_read_exactly(reader: ImageReader, encoding: str, pixels: np.ndarray, padding: int) -> None:
    if padding and pixels.dtype.itemsize == 2:
        padding += 1
    np.testing.assert_allclose(_read_rgb(reader, _message(pixels, encoding, padding)).astype(int), RGB, atol=1)


@pytest.mark.parametrize(('encoding', 'dtype', 'factor'), [('mono8', 'u1', 1), ('mono16', '<u2', 257)])
def test_grey_images_become_three_equal_channels(reader: ImageReader, encoding: str, dtype: str, factor: int) -> None:
    grey = RGB[..., 0].astype(dtype) * np.array(factor, dtype)
    rgb = _read_rgb(reader, _message(grey, encoding, 6))
    np.testing.assert_allclose(rgb.astype(int), np.repeat(RGB[..., :1], 3, 2), atol=1)


def _video_planes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Y (48 x 64), U and V (24 x 32 each) of SMOOTH in video range, as cameras send them."""
    planar = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2YUV_I420)
    return planar[:48], planar[48:60].reshape(24, 32), planar[60:].reshape(24, 32)


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize(('encoding', 'luma'), [('yuv422_yuy2', 0), ('yuv422', 1)])
def test_yuv_422_is_converted(reader: ImageReader, encoding: str, luma: int, padding: int) -> None:
    y, u, v = _video_planes()
    packed = np.empty((48, 64, 2), np.uint8)
    packed[..., luma] = y
    packed[:, 0::2, 1 - luma], packed[:, 1::2, 1 - luma] = u.repeat(2, 0), v.repeat(2, 0)
    rgb = _read_rgb(reader, _message(packed, encoding, padding))
    assert np.abs(rgb.astype(int) - SMOOTH).mean() < 10


@pytest.mark.parametrize('padding', [0, 4])
def test_nv12_is_read_at_the_size_of_its_luma_plane(padding: int) -> None:
    y, u, v = _video_planes()
    nv12 = np.vstack((y, np.stack((u, v), -1).reshape(24, 64)))
    rgb = _read_rgb(ImageReader(), _message(nv12, 'nv12', padding, height=48))
    assert rgb.shape == SMOOTH.shape
    assert np.abs(rgb.astype(int) - SMOOTH).mean() < 10


@pytest.mark.parametrize(('encoding', 'first'), [
    ('bayer_rggb8', 0), ('bayer_bggr8', 2), ('bayer_gbrg8', 1), ('bayer_grbg8', 1),
])
def test_bayer_patterns_are_converted_to_their_colour(reader: ImageReader, encoding: str, first: int) -> None:
    color = np.array([200, 120, 40], np.uint8)
    pattern = {'r': 0, 'g': 1, 'b': 2}
    letters = encoding[6:10]
    assert pattern[letters[0]] == first
    mosaic = np.empty((16, 16), np.uint8)
    for index, letter in enumerate(letters):
        mosaic[index // 2::2, index % 2::2] = color[pattern[letter]]
    rgb = _read_rgb(reader, _message(mosaic, encoding, 3))
    assert np.abs(rgb[4:12, 4:12].astype(int) - color).max() <= 1


def test_rgb8_and_bgr8_are_views_even_with_padding() -> None:
    for encoding in ('rgb8', 'bgr8'):
        message = _message(RGB, encoding, 5)
        pixels, channels = ImageReader().read(message)
        assert channels == encoding[:3]
        assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))


def test_the_padding_of_the_last_row_may_be_missing() -> None:
    message = _message(RGB, 'rgb8', 5)
    message.data = message.data[:-5]
    assert (ImageReader().read(message)[0] == RGB).all()


@pytest.mark.parametrize(('change', 'reason'), [
    ({'data': b'\0' * 100}, r'8x6 image with encoding "rgb8" and step 24 has 100 bytes instead of 144'),
    ({'data': b''}, 'has 0 bytes'),
    ({'step': 23}, 'step 23: step must be at least 24'),
    ({'step': 0}, 'step 0'),
    ({'width': 0}, '0x6 pixels'),
    ({'height': 0}, '8x0 pixels'),
    ({'height': 2**31}, '8x2147483648'),
    ({'encoding': 'rgb7'}, 'encoding "rgb7" is not supported'),
    ({'encoding': ''}, 'encoding "" is not supported'),
    ({'encoding': '32FC1', 'step': 32, 'data': b'\0' * 192}, '32FC1'),
    ({'encoding': '8UC3'}, 'encoding "8UC3" does not define colours: publish rgb8'),
    ({'encoding': 'mono16', 'step': 8}, 'step 8: step must be at least 16'),
    ({'width': 2**31, 'height': 2**31, 'step': 2**32 - 1}, 'more than max_pixels, 50000000'),
    ({'step': 2**32 - 1}, 'has 144 bytes instead of 21474836499'),
    ({'encoding': 'yuv422', 'width': 7}, 'must be a multiple of 2x1'),
    ({'encoding': 'nv12', 'height': 5}, 'must be a multiple of 2x2'),
    ({'encoding': 'bayer_rggb8', 'width': 1, 'height': 1}, 'must be at least 3x3'),
    ({'encoding': '8U'}, 'does not define colours'),
    ({'encoding': '8UC' + '9' * 5000}, 'encoding "8UC9'),
], ids=lambda value: str(value)[:60])
def test_an_invalid_message_is_refused_in_one_line(change: dict[str, object], reason: str) -> None:
    message = _message(RGB, 'rgb8')
    vars(message).update(change)
    for refuse in (ImageReader().check, ImageReader().read):
        with pytest.raises(ImageMessageError, match=reason) as caught:
            refuse(message)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_of_the_table_is_converted(encoding: str) -> None:
    layout = ENCODINGS[encoding]
    pixels = np.full((layout.rows(4), 4, layout.pixel_bytes), 128, np.uint8)
    message = _message(pixels, encoding, height=4)
    ImageReader().check(message)
    rgb = _read_rgb(ImageReader(), message)
    assert rgb.shape == (4, 4, 3) and np.abs(rgb.astype(int) - 128).max() <= 2


def test_images_of_at_most_max_pixels_are_read() -> None:
    jpeg = SimpleNamespace(format='jpeg', data=cv2.imencode('.jpg', RGB)[1].tobytes())
    for read, message in (('read', _message(RGB, 'rgb8')), ('read_compressed', jpeg)):
        assert getattr(ImageReader(48), read)(message)[0].shape == (6, 8, 3)
        for method in (read, 'check'):
            with pytest.raises(ImageMessageError, match='8x6 pixels, more than max_pixels, 47'):
                getattr(ImageReader(47), method)(message)


@pytest.mark.parametrize(('encoding', 'sent', 'passed'), [
    ('mono16', 0, 0), ('mono16', 1, 1), ('mono16', 255, 1), ('mono8', 1, 0), ('mono8', 255, 0)])
def test_converters_get_0_or_1_as_endianness(encoding: str, sent: int, passed: int) -> None:
    class Recorder:
        def to_rgb(self, message: SimpleNamespace) -> np.ndarray:
            assert message.is_bigendian == passed
            return RGB

    message = _message(np.zeros((6, 8, ENCODINGS[encoding].pixel_bytes), np.uint8), encoding)
    message.is_bigendian = sent
    assert ImageReader(converters=[Recorder()]).read(message)[0] is RGB


def test_bytes_after_the_last_row_are_ignored() -> None:
    message = _message(RGB, 'rgb8')
    message.data += b'\7' * 1000
    assert (ImageReader().read(message)[0] == RGB).all()


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_compressed_images_are_read(suffix: str) -> None:
    data = cv2.imencode(suffix, SMOOTH[..., ::-1].copy())[1].tobytes()
    image, channels = ImageReader().read_compressed(
        SimpleNamespace(format=f'rgb8; {suffix[1:]} compressed bgr8', data=data))
    assert channels == 'bgr' and np.abs(image[..., ::-1].astype(int) - SMOOTH).mean() < 25
    data = cv2.imencode(suffix, SMOOTH[..., 0].copy())[1].tobytes()
    grey, _ = ImageReader().read_compressed(SimpleNamespace(format='png', data=data))
    assert grey.shape == SMOOTH.shape


def test_the_orientation_in_a_compressed_image_is_ignored() -> None:
    jpeg = cv2.imencode('.jpg', SMOOTH)[1].tobytes()
    # one entry, 0x112 = orientation: 6, a quarter turn
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    turned = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)
    plain, image = (ImageReader().read_compressed(SimpleNamespace(format='jpeg', data=data))[0] for data in (jpeg, turned))
    assert (image == plain).all()


@pytest.mark.parametrize(('encoding', 'dtype'), [('bayer_rggb8', np.uint8), ('bayer_rggb16', np.uint16)])
def test_a_compressed_bayer_image_is_converted_to_colours(reader: ImageReader, encoding: str, dtype: type) -> None:
    mosaic = np.empty((16, 16), dtype)
    factor = 257 if dtype is np.uint16 else 1
    for row, column, value in ((0, 0, 200), (0, 1, 120), (1, 0, 120), (1, 1, 40)):
        mosaic[row::2, column::2] = value * factor
    data = cv2.imencode('.png', mosaic)[1].tobytes()
    image, channels = reader.read_compressed(SimpleNamespace(format=f'{encoding}; png compressed ', data=data))
    assert channels == 'rgb' and np.abs(image[4:12, 4:12].astype(int) - (200, 120, 40)).max() <= 1
    # the format names a Bayer encoding, but the image has colours
    data = cv2.imencode('.png', SMOOTH[..., ::-1].copy())[1].tobytes()
    image, channels = reader.read_compressed(SimpleNamespace(format=f'{encoding}; png compressed bgr8', data=data))
    assert channels == 'bgr' and (image[..., ::-1] == SMOOTH).all()


class Mono8Bridge:
    """The interface of cv_bridge. It knows only mono8 and returns 9 for every pixel."""

    def imgmsg_to_cv2(self, message: SimpleNamespace, encoding: str) -> np.ndarray:
        if message.encoding != 'mono8':
            raise ValueError('unknown')
        return np.full((message.height, message.width, 3), 9, np.uint8)


class BrokenBridge(Mono8Bridge):
    """A cv_bridge that was built for another NumPy."""

    def imgmsg_to_cv2(self, message: SimpleNamespace, encoding: str) -> np.ndarray:
        raise ImportError('numpy.core.multiarray failed\nto import')


def test_an_encoding_that_the_first_library_does_not_know_is_read_by_the_next() -> None:
    reader = ImageReader(converters=[CvBridgeConverter(Mono8Bridge()), RosbagsConverter()])
    assert (reader.read(_message(RGB[..., 0].copy(), 'mono8'))[0] == 9).all()
    bgra = np.dstack((RGB[..., ::-1], RGB[..., 0]))
    assert (_read_rgb(reader, _message(bgra, 'bgra8')) == RGB).all()


def test_a_cv_bridge_that_does_not_work_is_not_used() -> None:
    converters = usable_converters([lambda: CvBridgeConverter(BrokenBridge()), RosbagsConverter])
    assert [type(converter) for converter in converters] == [RosbagsConverter]


def test_without_a_library_the_error_says_what_to_install() -> None:
    with pytest.raises(ImageMessageError, match='"mono8" needs rosbags-image: pip install'):
        ImageReader(converters=[]).read(_message(RGB[..., 0].copy(), 'mono8'))
    assert ImageReader(converters=[]).read(_message(RGB, 'rgb8'))[1] == 'rgb'


def test_text_of_a_publisher_is_quoted_and_short() -> None:
    forged = 'mono9\n[FATAL] motors off\x1b[31m' + 'x' * 10_000
    with pytest.raises(ImageMessageError) as raw:
        ImageReader().read(_message(RGB, forged))
    with pytest.raises(ImageMessageError) as compressed:
        ImageReader().read_compressed(SimpleNamespace(format=forged, data=b'1'))
    for text in (str(raw.value), str(compressed.value)):
        assert '\n' not in text and '\x1b' not in text and len(text) < 200 and 'mono9' in text


@pytest.mark.parametrize('data', [b'', b'\xff\xd8 no image'])
def test_compressed_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    with pytest.raises(ImageMessageError, match=f'{len(data)} bytes with format "jpeg"'):
        ImageReader().read_compressed(SimpleNamespace(format='jpeg', data=data))


@pytest.mark.parametrize(('data', 'reason'), [
    (png(1_000_000, 1_000, 1), '1000000x1000 pixels, more than max_pixels'),
    (png(2**31, 2**31, 0), 'more than max_pixels'),
    (with_frame_size(cv2.imencode('.jpg', RGB)[1].tobytes(), 65535, 65535), 'more than max_pixels'),
    (with_frame_size(cv2.imencode('.jpg', RGB)[1].tobytes(), 8, 0), '8x0 pixels'),
    (b'GIF89a' + bytes(100), 'neither PNG nor JPEG: publish one'),
    (b'RIFF\0\0\0\0WEBP' + bytes(100), 'neither PNG nor JPEG'),
], ids=['png bomb', 'png 2^31', 'jpeg 65535', 'jpeg without height', 'gif', 'webp'])
def test_a_compressed_image_is_refused_before_it_is_decoded(
    data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cv2, 'imdecode')
    message = SimpleNamespace(format='jpeg', data=data)
    for refuse in (ImageReader().check, ImageReader().read_compressed):
        with pytest.raises(ImageMessageError, match=reason):
            refuse(message)


def test_a_truncated_compressed_image_is_refused() -> None:
    for suffix in ('.png', '.jpg'):
        data = cv2.imencode(suffix, SMOOTH)[1].tobytes()
        for length in (*range(8, len(data), 97), len(data) - 1):
            with pytest.raises(ImageMessageError, match='damaged or incomplete'):
                ImageReader().read_compressed(SimpleNamespace(format='jpeg', data=data[:length]))


def test_text_in_a_png_is_not_expanded() -> None:
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ImageReader().read_compressed(SimpleNamespace(format='png', data=text_bomb(100)))[0].shape == (4, 4, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin < 100_000  # kB; it expands to 700 MB


@pytest.mark.parametrize('image', [np.dstack((SMOOTH, SMOOTH[..., 0])), SMOOTH.astype(np.uint16) * 257],
                         ids=['alpha', '16 bits'])
def test_colours_with_a_bayer_format_are_read_as_8_bit_colours(image: np.ndarray) -> None:
    data = cv2.imencode('.png', image)[1].tobytes()
    read, channels = ImageReader().read_compressed(SimpleNamespace(format='bayer_rggb8; png compressed ', data=data))
    assert channels == 'bgr' and read.dtype == np.uint8 and (read == SMOOTH).all()


def test_mutated_messages_raise_nothing_but_image_message_error() -> None:
    rng, reader = random.Random(0), ImageReader(max_pixels=1_000_000)
    seeds = [cv2.imencode(suffix, SMOOTH)[1].tobytes() for suffix in ('.png', '.jpg')]
    sizes = (0, 1, 2, 7, 8, 64, 255, 65535, 2**31, 2**32 - 1)
    for _ in range(1000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data) if rng.random() < 0.5 else 200)] = rng.choice((0, 1, 0xC0, 0xD9, 0xDA, 0xFF))
        raw = SimpleNamespace(width=rng.choice(sizes), height=rng.choice(sizes), is_bigendian=rng.randrange(256),
                              encoding=rng.choice((*ENCODINGS, '8UC3', '')), step=rng.choice(sizes),
                              data=bytes(rng.choice((0, 64, 4096))))
        compressed = SimpleNamespace(format=rng.choice(('jpeg', '', 'bayer_rggb16; png')), data=bytes(data))
        for read, message in ((reader.read, raw), (reader.read_compressed, compressed)):
            with suppress(ImageMessageError):
                pixels, _ = read(message)
                reader.check(message)
                assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    good = SimpleNamespace(format='png', data=seeds[0])
    assert (reader.read_compressed(good)[0] == SMOOTH).all()

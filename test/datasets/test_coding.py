from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from dataset_files import COLOR_IDS, COLORS, write_labels

from enet_ros.datasets.coding import Coding
from enet_ros.errors import DatasetError, ImageFileError
from enet_ros.images.files import write_image
from enet_ros.labels import VOID

IDS = {0: VOID, 1: 0, 2: 1, 3: 2, 7: 0, 255: VOID}
CODING = Coding(IDS, dict(zip(COLORS[0], COLOR_IDS[0])))


def write_small_png(path: Path, ids: list[int], depth: int) -> None:
    """Write one row of ids with `depth` bits each, which OpenCV cannot."""
    bits = np.unpackbits(np.array(ids, np.uint8)[:, None], axis=1)[:, -depth:]
    chunks = ((b'IHDR', struct.pack('>IIBBBBB', len(ids), 1, depth, 0, 0, 0, 0)),
              (b'IDAT', zlib.compress(b'\0' + np.packbits(bits.reshape(-1)).tobytes())), (b'IEND', b''))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    ))


def test_ids_and_colours_become_class_ids(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    write_labels(path, [[0, 1, 2, 3, 7, 255]])
    assert CODING.read(path).tolist() == [[VOID, 0, 1, 2, 0, VOID]]
    write_labels(path, COLORS)
    assert CODING.read(path).tolist() == COLOR_IDS


def test_a_fourth_channel_is_ignored(tmp_path: Path) -> None:
    bgra = np.dstack([np.array(COLORS, np.uint8)[..., ::-1], np.array([[0, 50, 100, 200, 255]], np.uint8)])
    write_image(tmp_path / 'a.png', bgra)
    assert CODING.read(tmp_path / 'a.png').tolist() == COLOR_IDS


@pytest.mark.parametrize(('labels', 'reason'), [
    ([[1, 4]], r'a.png holds label id 4,'), ([[(0, 0, 142), (1, 2, 3)]], r'a.png holds colour \(1, 2, 3\),'),
], ids=['id', 'colour'])
def test_a_value_that_is_not_in_the_coding_is_named_or_replaced(
    labels: list[list[object]], reason: str, tmp_path: Path
) -> None:
    write_labels(tmp_path / 'a.png', labels)
    with pytest.raises(DatasetError, match=reason):
        CODING.read(tmp_path / 'a.png')
    assert CODING.read(tmp_path / 'a.png', unknown=VOID)[0, 1] == VOID


@pytest.mark.parametrize(('ids', 'depth', 'coded', 'expected'), [
    ([0, 1, 2, 3], 2, IDS, [VOID, 0, 1, 2]), ([0, 1, 7, 2], 4, IDS, [VOID, 0, 0, 1]),
    ([0, 0, 0, 0], 1, IDS, [VOID, VOID, VOID, VOID]), ([0, 1, 0, 1], 1, IDS, [VOID, 0, VOID, 0]),
    ([0, 2, 0, 2], 2, {0: VOID, 1: 0, 170: 1}, [VOID, 1, VOID, 1]),  # a mask of 0 and 170, saved with fewer bits
], ids=['2 bits', '4 bits', 'zeros', '1 bit', '0 and 170'])
def test_pixels_of_fewer_than_8_bits_are_read_as_the_coding_knows_them(
    ids: list[int], depth: int, coded: dict[int, int], expected: list[int], tmp_path: Path
) -> None:
    write_small_png(tmp_path / 'a.png', ids, depth)
    assert Coding(coded).read(tmp_path / 'a.png').tolist() == [expected]


def test_pixels_of_fewer_than_8_bits_with_two_meanings_are_refused(tmp_path: Path) -> None:
    write_small_png(tmp_path / 'a.png', [0, 1], 1)
    with pytest.raises(DatasetError, match=r'a.png has 1-bit pixels.* up to 1 .* up to 255: save it with 8 bits'):
        Coding({0: VOID, 1: 0, 255: 1}).read(tmp_path / 'a.png')


@pytest.mark.parametrize(('ids', 'depth', 'unknown'), [([0, 3, 0, 3], 2, 3), ([0, 15], 4, 15)], ids=['2 bits', '4 bits'])
def test_an_unknown_id_of_fewer_than_8_bits_is_not_read_as_void(
    ids: list[int], depth: int, unknown: int, tmp_path: Path
) -> None:
    write_small_png(tmp_path / 'a.png', ids, depth)  # stretched to 8 bits it is 255, which is void
    with pytest.raises(DatasetError, match=f'a.png holds label id {unknown},'):
        Coding({0: VOID, 1: 0, 255: VOID}).read(tmp_path / 'a.png')


@pytest.mark.parametrize(('coding', 'labels', 'reason'), [
    (CODING, np.ones((1, 1), np.uint16), r'a.png has type uint16'),
    (Coding(ids=IDS), np.ones((1, 1, 3), np.uint8), r'a.png has shape \(1, 1, 3\).* one channel'),
    (Coding(colors=CODING.colors), np.ones((1, 1), np.uint8), r'a.png has one channel.* colour'),
], ids=['16 bits', 'colours for ids', 'ids for colours'])
def test_an_image_of_the_wrong_kind_is_refused(
    coding: Coding, labels: np.ndarray, reason: str, tmp_path: Path
) -> None:
    write_image(tmp_path / 'a.png', labels)
    with pytest.raises(DatasetError, match=reason):
        coding.read(tmp_path / 'a.png')


def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(b'x')
    with pytest.raises(ImageFileError, match=r'a.png'):
        CODING.read(tmp_path / 'a.png')

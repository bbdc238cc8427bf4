"""Shapes of labelme, drawn as labelme does. labelme_masks.json is written by draw_with_labelme.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_data import text_bomb

from enet_ros.datasets.shapes import Canvas
from enet_ros.errors import ImageError
from enet_ros.images.image_header import read_header

REFERENCE = json.loads((Path(__file__).parent / 'labelme_masks.json').read_text())
SIZE = REFERENCE['height'], REFERENCE['width']


def png(pixels: np.ndarray, length: int | None = None) -> str:
    """Return the first `length` bytes of a PNG in base64."""
    return base64.b64encode(cv2.imencode('.png', pixels)[1].tobytes()[:length]).decode()


@pytest.mark.parametrize('kind', sorted({drawn['shape']['shape_type'] for drawn in REFERENCE['drawn']}))
def test_shapes_have_the_pixels_that_labelme_gives_them(kind: str) -> None:
    for drawn in REFERENCE['drawn']:
        if drawn['shape']['shape_type'] == kind:
            expected = np.unpackbits(np.frombuffer(base64.b64decode(drawn['mask']), np.uint8))[: SIZE[0] * SIZE[1]]
            canvas = Canvas(SIZE, 255)
            canvas.draw(drawn['shape'], 7)
            assert canvas.ids().tolist() == np.where(expected, 7, 255).reshape(SIZE).tolist(), drawn['shape']


@pytest.mark.parametrize('length', [-1, -12, -20, 40])
def test_a_mask_that_is_cut_off_is_refused(length: int) -> None:
    mask = png(np.random.default_rng(0).integers(0, 2, (5, 6), np.uint8) * 255, length)
    with pytest.raises(ImageError, match='a mask is damaged'):
        Canvas(SIZE, 0).draw({'shape_type': 'mask', 'points': [[0, 0], [1, 1]], 'mask': mask}, 1)


def test_shapes_of_x_anylabeling_are_polygons() -> None:
    corners = [[3.2, 8], [9, 2.6], [20, 15], [11, 21]]
    canvases = []
    for kind in ('polygon', 'oriented_rectangle', 'rotation', 'rectangle', None):
        canvases.append(Canvas(SIZE, 0))
        canvases[-1].draw({'shape_type': kind, 'points': corners}, 3)
    assert canvases[0].ids().any()
    assert all((canvas.ids() == canvases[0].ids()).all() for canvas in canvases)


def test_a_mask_that_reaches_out_of_the_image_is_cut() -> None:
    mask = png(np.array([[0, 255], [255, 255], [0, 255]], np.uint8))
    canvas = Canvas((8, 10), 0)
    canvas.draw({'shape_type': 'mask', 'points': [[-1, -1], [0, 1]], 'mask': mask}, 1)
    canvas.draw({'shape_type': 'mask', 'points': [[9, 6], [10, 8]], 'mask': mask}, 2)
    ids = np.zeros((8, 10), int)
    ids[:2, 0], ids[7, 9] = 1, 2
    assert canvas.ids().tolist() == ids.tolist()


@pytest.mark.parametrize(('shape', 'reason'), [
    ({'shape_type': 'star', 'points': [[1, 1]]}, '"star" is not a type of shape: use one of polygon, '),
    ({'points': [[1, 1], [2, 2]]}, 'a polygon has 2 corners'),
    ({'shape_type': 'circle', 'points': [[1, 1]]}, 'a circle has 1 corners'),
    ({'shape_type': 'point', 'points': []}, 'a point has 0 corners'),
    ({'shape_type': 'line', 'points': [[1, 1], [float('nan'), 2]]}, 'a corner is not a number'),
    ({'shape_type': 'circle', 'points': [[1, 1], [1e300, 2]]}, 'far outside'),
    ({'shape_type': 'mask', 'points': [[0, 0], [1, 1]], 'mask': 'eA=='}, 'a mask is not a PNG'),
    ({'shape_type': 'mask', 'points': [[0, 0], [1, 1]], 'mask': png(np.ones((5, 57), np.uint8))},
     'a mask has 57x5 pixels, more than the image'),
], ids=['type', 'polygon', 'circle', 'point', 'not a number', 'far outside', 'not a PNG', 'larger than the image'])
def test_a_shape_that_cannot_be_drawn_is_refused(shape: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Canvas(SIZE, 0).draw(shape, 1)


def test_a_mask_is_not_decoded_before_its_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(cv2.imencode('.png', np.ones((4, 4), np.uint8))[1].tobytes())
    data[16:24] = (60_000).to_bytes(4, 'big') * 2
    assert read_header(bytes(data)).width == 60_000
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(ValueError, match='a mask has 60000x60000 pixels'):
        Canvas(SIZE, 0).draw({'shape_type': 'mask', 'points': [[0, 0], [1, 1]], 'mask': base64.b64encode(data)}, 1)


def test_compressed_texts_in_a_mask_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    decode, seen = cv2.imdecode, []
    monkeypatch.setattr(cv2, 'imdecode', lambda data, flags: seen.append(data.tobytes()) or decode(data, flags))
    bomb = base64.b64encode(text_bomb(2))  # 14 kB that expand to 14 MB
    Canvas(SIZE, 0).draw({'shape_type': 'mask', 'points': [[0, 0], [4, 4]], 'mask': bomb}, 1)
    assert seen and b'zTXt' not in seen[0]

"""Ground truth messages of every kind."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from enet_ros.errors import ImageMessageError
from enet_ros.replay.class_map import TruthTable
from enet_ros.replay.ground_truth import read_truth

IDS = np.array([[0, 1, 255], [1, 0, 1]])
TABLE = TruthTable({0: 5, 1: 7, 255: 255, 1000: 2}, {(1, 2, 3): 4, (255, 0, 0): 255})


def message(pixels: np.ndarray, encoding: str, padding: int = 0, **fields: object) -> SimpleNamespace:
    rows = pixels.reshape(len(pixels), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    values = {'height': pixels.shape[0], 'width': pixels.shape[1], 'encoding': encoding, 'is_bigendian': 0,
              'step': padded.shape[1], 'data': padded.tobytes(), **fields}
    return SimpleNamespace(**values)


@pytest.mark.parametrize(('encoding', 'dtype'), [
    ('mono8', 'u1'), ('8UC1', 'u1'), ('mono16', '<u2'), ('16UC1', '<u2'), ('32SC1', '<i4')])
@pytest.mark.parametrize('padding', [0, 4])
def test_ids_become_those_of_the_model(encoding: str, dtype: str, padding: int) -> None:
    truth = read_truth(message(IDS.astype(dtype), encoding, padding), TABLE)
    assert truth.dtype == np.uint8
    assert truth.tolist() == [[5, 7, 255], [7, 5, 7]]


def test_big_endian_ids_and_ids_above_255_are_read() -> None:
    pixels = np.array([[1000, 1]], '>u2')
    assert read_truth(message(pixels, 'mono16', is_bigendian=1), TABLE).tolist() == [[2, 7]]


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_colours_become_ids_of_the_model(encoding: str) -> None:
    rgb = np.array([[[1, 2, 3], [255, 0, 0]]], np.uint8)
    pixels = rgb if encoding == 'rgb8' else rgb[..., ::-1].copy()
    assert read_truth(message(pixels, encoding, padding=2), TABLE).tolist() == [[4, 255]]


@pytest.mark.parametrize(('bad', 'reason'), [
    (message(np.array([[42]], np.uint8), 'mono8'), r'has id 42, which is not a class \(0, 1, 255, 1000 are\): name it'),
    (message(np.array([[-1]], '<i4'), '32SC1'), 'has id -1, which'),
    (message(np.array([[70000]], '<i4'), '32SC1'), 'has id 70000, which'),
    (message(np.array([[[9, 9, 9]]], np.uint8), 'rgb8'), 'has colour #090909, which'),
    (message(np.zeros((1, 1), '<f4'), '32FC1'), 'encoding "32FC1": use mono8, .* for class ids or rgb8, bgr8'),
    (message(IDS.astype('u1'), 'mono8', height=3), '3x3 ground truth .* do not agree'),
    (message(IDS.astype('u1'), 'mono8', step=2), 'step 2 .* do not agree'),
    (message(IDS.astype('u1'), 'mono8', width=0), '0x2 ground truth'),
    (ImageMessageError('the message is damaged'), 'the message is damaged'),
], ids=['id', 'negative', 'large', 'colour', 'encoding', 'short', 'step', 'no pixels', 'damaged'])
def test_what_has_no_meaning_is_refused(bad: object, reason: str) -> None:
    with pytest.raises(ImageMessageError, match=reason):
        read_truth(bad, TABLE)


def test_colours_without_a_table_are_refused() -> None:
    with pytest.raises(ImageMessageError, match='name them with "classes" in a --class-map file'):
        read_truth(message(np.zeros((1, 1, 3), np.uint8), 'rgb8'), TruthTable({0: 0}, {}))


def compressed(pixels: np.ndarray, suffix: str = '.png') -> SimpleNamespace:
    return SimpleNamespace(format='png', data=cv2.imencode(suffix, pixels)[1].reshape(-1))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_ids_in_a_grey_png_are_read(dtype: type) -> None:
    assert read_truth(compressed(IDS.astype(dtype)), TABLE).tolist() == [[5, 7, 255], [7, 5, 7]]


def test_ids_above_255_in_a_png_are_read() -> None:
    assert read_truth(compressed(np.array([[1000, 1]], np.uint16)), TABLE).tolist() == [[2, 7]]


def test_colours_in_a_png_are_read() -> None:
    assert read_truth(compressed(np.array([[[3, 2, 1], [0, 0, 255]]], np.uint8)), TABLE).tolist() == [[4, 255]]


def one_bit_png() -> SimpleNamespace:
    data = cv2.imencode('.png', IDS.astype(np.uint8) % 2, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].reshape(-1)
    return SimpleNamespace(format='png', data=data)


@pytest.mark.parametrize(('bad', 'reason'), [
    (compressed(IDS.astype(np.uint8), '.jpg'), 'is lossy: JPEG changes class ids: record PNG or sensor_msgs/msg/Image'),
    (one_bit_png(), 'has grey values of 1 bits: use 8 or 16 bits'),
    (compressed(np.zeros((2, 2, 4), np.uint8)), 'has 4 channels of 8 bits: use 1 of 8 or 16 bits'),
    (compressed(np.zeros((2, 2, 3), np.uint16)), 'has 3 channels of 16 bits'),
    (SimpleNamespace(format='png', data=compressed(IDS.astype(np.uint8)).data[:-20]), 'is damaged or incomplete'),
    (SimpleNamespace(format='mono8; compressedDepth png', data=np.zeros(100, np.uint8)), 'is neither PNG nor JPEG'),
], ids=['jpeg', 'one bit', 'alpha', 'colours of 16 bits', 'truncated', 'neither'])
def test_compressed_ground_truth_that_does_not_keep_ids_is_refused(bad: SimpleNamespace, reason: str) -> None:
    with pytest.raises(ImageMessageError, match=rf'^compressed ground truth of {len(bad.data)} bytes {reason}'):
        read_truth(bad, TABLE)

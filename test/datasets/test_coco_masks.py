from __future__ import annotations

import numpy as np
import pytest

from enet_ros.datasets.coco_masks import read_mask

rle = pytest.importorskip('pycocotools.mask')
SIZE = (8, 10)
OUTLINE = [2, 1, 6, 1, 6, 4, 2, 4]  # columns 2 to 5 of rows 1 to 3: corners are points between pixels
RUNS = [2 * 8 + 1, 3, 5, 3, 5, 3, 5, 3, 4 + 4 * 8]
"""Run lengths of that area, by columns, outside first."""


@pytest.mark.parametrize('segmentation', [
    [OUTLINE], [[1, 2], [], OUTLINE], [OUTLINE, [3, 2, 4, 2, 4, 3, 3, 3]], {'size': [8, 10], 'counts': RUNS},
], ids=['polygon', 'parts without area', 'parts that overlap', 'runs'])
def test_polygons_and_runs_give_the_mask(segmentation: object) -> None:
    expected = np.zeros(SIZE, bool)
    expected[1:4, 2:6] = True
    assert (read_mask(segmentation, SIZE, rle) == expected).all()


@pytest.mark.parametrize('share', [0.0, 0.02, 0.5, 1.0])
def test_compressed_runs_are_those_of_pycocotools(share: float) -> None:
    drawn = np.random.default_rng(0).random((120, 90)) < share
    packed = rle.encode(np.asfortranarray(drawn.astype(np.uint8)))
    assert (read_mask({'size': [120, 90], 'counts': packed['counts'].decode()}, (120, 90), rle) == drawn).all()


@pytest.mark.parametrize(('segmentation', 'reason'), [
    ([[1, 2, 3]], r'a polygon is not a list x, y'),
    ([[1, 2, 3, 4], []], r'no polygon has three corners'),
    ([[1, 2, 3, 4, float('nan'), 5]], r'a corner is not a number or far outside'),
    ([[1, 2, 3, 4, 1e9, 5]], r'a corner is not a number or far outside'),
    ({'size': [8, 10], 'counts': [3]}, r'with runs of 3 pixels for an image of 8 rows and 10 columns'),
    ({'size': [8, 10], 'counts': [3, -3, 80]}, r'with runs of 80 pixels for an image of 8 rows'),
    ({'size': [8, 10], 'counts': [2**62, 2**62, 2**62, 2**62, 80]}, r'with runs of 80 pixels for'),
    ({'size': [8, 9], 'counts': [72]}, r'a mask of size \[8, 9\] with'),
    ({'size': [8, 10], 'counts': 'o' * 100_000}, r'a mask has a run of more than 60 bits'),
    ({'size': [8, 10], 'counts': '1'}, r'with runs of 1 pixels for'),
    ({'size': [8, 10], 'counts': ''}, r'with runs of 0.* pixels for'),
], ids=['odd corners', 'two corners', 'not a number', 'far outside', 'short', 'negative run', 'runs that overflow',
        'another size', 'endless run', 'short compressed', 'empty compressed'])
def test_a_mask_that_does_not_fit_the_image_is_refused(segmentation: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_mask(segmentation, SIZE, rle)

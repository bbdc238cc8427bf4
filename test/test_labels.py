from __future__ import annotations

import numpy as np
import pytest

from enet_ros.errors import EnetError
from enet_ros.labels import CAMVID, CITYSCAPES, SUNRGBD, VOID, LabelSet, parse_names


def test_built_in_sets_have_the_published_sizes_and_distinct_colours() -> None:
    for labels, size in ((CAMVID, 11), (CITYSCAPES, 19), (SUNRGBD, 37)):
        assert len(labels) == size
        assert len(set(labels.colors)) == size


def test_built_in_sets_have_the_published_order_and_colours() -> None:
    assert CAMVID.names == ('Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car',
                            'Pedestrian', 'Bicyclist')
    assert CAMVID.colors[CAMVID.names.index('Bicyclist')] == (0, 128, 192)
    assert CITYSCAPES.names[0] == 'road' and CITYSCAPES.names[13] == 'car' and CITYSCAPES.names[18] == 'bicycle'
    assert CITYSCAPES.colors[13] == (0, 0, 142)
    assert SUNRGBD.names[0] == 'wall' and SUNRGBD.names[36] == 'bag'


def test_the_palette_is_black_where_there_is_no_class() -> None:
    palette = CAMVID.palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert tuple(palette[3]) == (128, 64, 128)
    assert not palette[11:].any()


def test_keep_only_maps_every_other_class_to_void() -> None:
    table = CAMVID.keep_only(['Road', 'Car'])
    assert table[3] == 3 and table[8] == 8
    assert (np.delete(table, [3, 8]) == VOID).all()


def test_keep_only_names_an_unknown_class_and_the_known_ones() -> None:
    with pytest.raises(EnetError, match=r'"Raod".*Road'):
        CAMVID.keep_only(['Raod'])
    with pytest.raises(EnetError, match=r'choose at least one of Sky'):
        CAMVID.keep_only([])


@pytest.mark.parametrize(('names', 'colors', 'reason'), [
    ((), (), '0 class names'),
    (tuple(f'c{i}' for i in range(256)), ((0, 0, 0),) * 256, '256 class names'),
    (('a', 'a'), ((0, 0, 0), (1, 1, 1)), '"a" is used more than once'),
    (('a', 'b'), ((0, 0, 0),), '1 colours for 2 classes'),
    (('a, b',), ((0, 0, 0),), '"a, b" has a comma'),
    (('a',), ((0, 0, 256),), r'\(0, 0, 256\) of class "a"'),
    ((5,), ((0, 0, 0),), 'class name 5 is not text'),
])
def test_a_label_set_that_is_not_valid_is_refused(names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...],
                                                 reason: str) -> None:
    with pytest.raises(EnetError, match=reason):
        LabelSet(names, colors)


def test_names_are_separated_by_commas_and_may_have_spaces() -> None:
    assert parse_names(' Road,traffic light , ,Car,') == ('Road', 'traffic light', 'Car')
    assert parse_names('') == parse_names(' , ') == ()

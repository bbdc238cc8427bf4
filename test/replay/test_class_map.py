"""Class map files."""

from __future__ import annotations

from pathlib import Path

import pytest

from enet_ros.errors import DatasetError
from enet_ros.labels import CAMVID
from enet_ros.replay.class_map import ClassMap, read_class_map, truth_table


def read(tmp_path: Path, text: str) -> ClassMap:
    (tmp_path / 'map.yaml').write_text(text)
    return read_class_map(tmp_path / 'map.yaml')


def test_ids_colours_and_names_are_mapped(tmp_path: Path) -> None:
    class_map = read(tmp_path, """
classes: {0: Sky, 7: Lane, 8: Street, '#0a0B0c': Fog, 255: Car}
map: {Lane: Road, Street: Road, Fog: null}
""")
    table = truth_table({0: 'Tree'}, class_map, CAMVID)
    names = CAMVID.names
    assert table.ids == {0: names.index('Sky'), 7: names.index('Road'), 8: names.index('Road'), 255: names.index('Car')}
    assert table.colors == {(10, 11, 12): 255}
    assert class_map.as_json() == {
        'classes': {'0': 'Sky', '7': 'Lane', '8': 'Street', '#0a0b0c': 'Fog', '255': 'Car'},
        'map': {'Lane': 'Road', 'Street': 'Road', 'Fog': None}}


def test_without_names_the_ids_are_those_of_the_model() -> None:
    assert truth_table(None, ClassMap(), CAMVID).ids == {255: 255, **{number: number for number in range(len(CAMVID))}}


def test_a_mapping_to_a_class_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(DatasetError, match=r'does not have: Sky \(mapped to Heaven\); map them with --class-map'):
        truth_table(None, ClassMap(renamed={'Sky': 'Heaven'}), CAMVID)


@pytest.mark.parametrize(('text', 'reason'), [
    ('names: {0: Sky}', 'unknown key "names": use classes and map'),
    ('classes: [Sky]', 'classes must hold keys with values'),
    ('classes: {-1: Sky}', '"-1" is not an id from 0 to 65535 or a colour'),
    ("classes: {'#12345': Sky}", '"#12345" is not an id'),
    ('classes: {true: Sky}', '"True" is not an id'),
    ('classes: {0: 1}', 'classes: 0: 1 must be the name of a class'),
    ('map: {Lane: 3}', 'map: Lane: 3 must be the name of a class and another name, or null'),
    ('map: {Lane: Road, Lane: Sky}', 'key "Lane" is there twice'),
    ('[]', 'it must hold keys with values'),
], ids=['key', 'list', 'negative id', 'colour', 'truth value', 'name', 'target', 'twice', 'no mapping'])
def test_a_bad_file_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as info:
        read(tmp_path, text)
    assert reason in str(info.value) and 'map.yaml' in str(info.value) and '\n' not in str(info.value)

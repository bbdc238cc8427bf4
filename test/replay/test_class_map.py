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


def test_names_of_the_file_add_to_those_of_the_bag_and_have_priority() -> None:
    table = truth_table({0: 'Sky', 1: 'Pole'}, ClassMap({1: 'Road', 77: 'Marking'}, {'Marking': 'Road'}), CAMVID)
    sky, road = map(CAMVID.names.index, ('Sky', 'Road'))
    assert table.ids == {0: sky, 1: road, 77: road, 255: 255}


def test_without_names_the_ids_are_those_of_the_model() -> None:
    assert truth_table(None, ClassMap(), CAMVID).ids == {255: 255, **{number: number for number in range(len(CAMVID))}}


def test_a_mapping_to_a_class_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(DatasetError, match=r'^only in the ground truth: Heaven \(for Sky\); only in the model: Sky: map'):
        truth_table(None, ClassMap(renamed={'Sky': 'Heaven'}), CAMVID)


def test_all_names_that_differ_are_listed() -> None:
    with pytest.raises(DatasetError, match=r'^only in the ground truth: Street, Kerb; only in the model: Road, Pavement:'):
        truth_table({0: 'Street', 1: 'Kerb', 2: 'Sky', 3: 'Kerb', **{
            4 + number: name for number, name in enumerate(CAMVID.names) if name not in ('Sky', 'Road', 'Pavement')
        }}, ClassMap(), CAMVID)


def test_a_name_of_the_map_that_the_ground_truth_does_not_have_is_an_error() -> None:
    with pytest.raises(DatasetError, match='"Skyy" is not a class of the ground truth: use Sky, Road'):
        truth_table({0: 'Sky', 1: 'Road'}, ClassMap(renamed={'Skyy': None}), CAMVID)


def test_names_of_colours_leave_the_ids_of_the_bag_as_they_are(tmp_path: Path) -> None:
    class_map = read(tmp_path, "classes: {'#0a0b0c': Road}")
    assert truth_table({4: 'Sky'}, class_map, CAMVID).ids == {4: 0, 255: 255}
    # and the ids of a bag without names are not taken for those of the model
    assert truth_table(None, class_map, CAMVID).ids == {255: 255}


@pytest.mark.parametrize(('text', 'reason'), [
    ('names: {0: Sky}', 'unknown key "names": use classes and map'),
    ('classes: [Sky]', 'must hold keys with values; a colour needs quotes'),
    ('classes:\n  #804080: Road', 'classes is "None" but must hold keys with values; a colour'),
    ("classes: {'#80408A': Road, '#80408a': Sky}", '#80408a is both "Road" and "Sky"'),
    ('classes: {-1: Sky}', '"-1" is not an id from 0 to 65535 or a colour'),
    ("classes: {'#12345': Sky}", '"#12345" is not an id'),
    ('classes: {true: Sky}', '"True" is not an id'),
    ('classes: {0: 1}', 'class "0" is "1" but must be a name'),
    ('map: {Lane: 3}', 'map has "Lane": "3": both must be names, or null for void'),
    ('map: {Lane: Road, Lane: Sky}', 'key "Lane" occurs twice'),
    ('[]', 'it must hold keys with values'),
    ('map: ' + '[' * 5000, 'more than 100 levels'),
], ids=['key', 'list', 'no quotes', 'colour twice', 'negative id', 'colour', 'truth value', 'name', 'target', 'twice',
        'no mapping', 'too deep'])
def test_a_bad_file_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as info:
        read(tmp_path, text)
    assert reason in str(info.value) and 'map.yaml' in str(info.value) and '\n' not in str(info.value)


@pytest.mark.parametrize('renamed', [{}, {'none': None}], ids=['unknown', 'unused'])
def test_an_error_about_a_name_with_a_line_break_is_one_line(renamed: dict[str, str | None]) -> None:
    with pytest.raises(DatasetError, match=r'two\\nlines') as caught:
        truth_table(None, ClassMap({0: 'two\nlines'}, renamed), CAMVID)
    assert '\n' not in str(caught.value)

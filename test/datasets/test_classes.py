from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import CLASSES

from enet_ros.datasets.classes import read_classes
from enet_ros.errors import DatasetError
from enet_ros.labels import VOID, LabelSet


def test_a_classes_file_says_what_ids_colours_and_names_mean(classes: Path) -> None:
    read = read_classes(classes)
    assert (read.name, read.source, read.license) == ('yard', 'drawn by a test', 'free')
    assert read.labels == LabelSet(('ground', 'box', 'person'), ((128, 64, 128), (0, 0, 142), (220, 20, 60)))
    assert read.coding.ids == {0: VOID, 1: 0, 7: 0, 2: 1, 3: 2, VOID: VOID}
    assert read.coding.colors == {(128, 64, 128): 0, (9, 9, 9): 0, (0, 0, 142): 1, (220, 20, 60): 2, (0, 0, 0): VOID}
    assert read.names == {'ground': 0, 'box': 1, 'crate': 1, 'person': 2, '__ignore__': VOID}


def test_a_class_without_from_has_its_number_colour_and_name(classes: Path) -> None:
    classes.write_text(
        '{name: n, source: s, license: l, classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [4, 5, 6]}]}'
    )
    read = read_classes(classes)
    assert read.coding.ids == {0: 0, 1: 1, VOID: VOID}
    assert read.coding.colors == {(1, 2, 3): 0, (4, 5, 6): 1}
    assert read.names == {'a': 0, 'b': 1}


def test_a_class_can_claim_the_id_of_void(classes: Path) -> None:
    classes.write_text(CLASSES.replace('from: [3]', 'from: [255]'))
    assert read_classes(classes).coding.ids[255] == 2


def test_pixels_without_an_annotation_are_void_or_a_class(classes: Path) -> None:
    assert read_classes(classes).rest == VOID
    classes.write_text(CLASSES + 'rest: box\n')
    assert read_classes(classes).rest == 1


@pytest.mark.parametrize(('old', 'new', 'reason'), [
    ('name: yard', '', "lacks 'name'"),
    ('name: yard', 'name: 7', 'name is 7 but must be text'),
    ('name: yard', 'nam: yard', '"nam".* classes'),
    ('from: [2, box, crate]', 'form: [2]', '"form".* color'),
    ('from: [2, box, crate]', 'from: 2', '2 is not a list'),
    ('from: [2, box, crate]', 'from: [1]', '1 stands for both ground and box'),
    ('from: [2, box, crate]', 'from: [256]', r'256 is not an id \(0 to 255\)'),
    ('from: [2, box, crate]', 'from: [[1, 2]]', r'\[1, 2\] is not an id'),
    ('from: [2, box, crate]', 'from: [[1]]', r'\[1\] is not an id'),
    ('from: [2, box, crate]', 'from: [true]', 'True is not an id'),
    ('void: [0,', 'void: [2,', '2 stands for both box and void'),
    ('color: [0, 0, 142]', 'color: [0, 0]', r'\(0, 0\) of class "box"'),
    ('void:', 'rest: sky\nvoid:', "'sky'.* ground, box, person"),
    ('classes:', 'classes: [', 'cannot read'),
    ('classes:', 'classes: 3\nvoid2:', '"void2"'),
    ('classes:', 'classes:\n  - a', "class 'a' has no keys: write it like"),
], ids=lambda value: value if ' ' not in value else None)
def test_a_wrong_classes_file_is_one_line_with_the_bad_value(old: str, new: str, reason: str, classes: Path) -> None:
    assert old in CLASSES
    classes.write_text(CLASSES.replace(old, new))
    with pytest.raises(DatasetError, match=reason) as caught:
        read_classes(classes)
    assert str(classes) in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['', '[]', 'classes', '{name: n, source: s, license: l, classes: 3}'])
def test_a_file_that_is_not_a_classes_file_is_refused(text: str, classes: Path) -> None:
    classes.write_text(text)
    with pytest.raises(DatasetError, match=r'classes.yaml is not valid'):
        read_classes(classes)

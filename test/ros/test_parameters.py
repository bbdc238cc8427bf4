"""The parameter table, its copies, and the tables of docs/node.md. Needs no ROS."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

from enet_ros.errors import UsageError
from enet_ros.labels import CAMVID
from enet_ros.network.model_file import read_model
from enet_ros.ros.parameters import PARAMETERS, NodeParameter

TABLE = {parameter.name: parameter for parameter in PARAMETERS}


@pytest.mark.parametrize('parameter', PARAMETERS, ids=lambda parameter: parameter.name)
def test_defaults_and_choices_are_allowed(parameter: NodeParameter) -> None:
    for value in (parameter.default, *parameter.choices):
        parameter.check(value)


def test_a_number_parameter_accepts_whole_numbers() -> None:
    for value in (0, 1, 0.25):
        TABLE['overlay_alpha'].check(value)


@pytest.mark.parametrize(('name', 'value', 'remedy'), [
    ('backend', 'tensorflow', 'openvino'),
    ('output_size', 'half', 'input, network'),
    ('model', 7, 'must be text'),
    ('classes', None, 'must be text'),
    ('width', 100, 'steps of 8'),
    ('width', -8, '0 to 16384'),
    ('height', 32768, '0 to 16384'),
    ('height', 48.0, 'whole number'),
    ('height', True, 'whole number'),
    ('overlay_alpha', 2, '0 to 1'),
    ('overlay_alpha', -0.1, '0 to 1'),
    ('overlay_alpha', float('nan'), '0 to 1'),
    ('overlay_alpha', '0.5', 'must be a number'),
    ('overlay_alpha', False, 'must be a number'),
    ('overlay_alpha', None, 'must be a number'),
])
def test_an_error_names_the_parameter_the_bad_value_and_what_is_allowed(name: str, value: object, remedy: str) -> None:
    with pytest.raises(UsageError) as raised:
        TABLE[name].check(value)
    text = str(raised.value)
    assert name in text and str(value) in text and remedy in text


def test_an_error_repeats_only_the_start_of_a_long_value() -> None:
    with pytest.raises(UsageError, match=r"^width is 'xxx.*: must be a whole number$") as raised:
        TABLE['width'].check('x' * 1_000_000)
    assert len(str(raised.value)) < 100


def test_the_parameter_file_has_the_defaults_and_descriptions_of_the_table() -> None:
    text = (ROOT / 'config' / 'segment.yaml').read_text()
    assert yaml.safe_load(text) == {'/**': {'ros__parameters': {name: p.default for name, p in TABLE.items()}}}
    _, _, parameters = text.partition('ros__parameters:\n')
    comments = re.findall(r'((?: +# .*\n)+) +(\w+):', parameters)
    assert {name: re.sub(r'\s*# ', ' ', comment).strip() for comment, name in comments} == {
        name: parameter.help for name, parameter in TABLE.items()}


def test_the_node_page_has_the_table() -> None:
    page = (ROOT / 'docs' / 'node.md').read_text()
    pattern = r'^\| `(\w+)` \| `(.+)` \| (.*) \| (any time|unconfigured|start only) \| (.+) \|$'
    assert re.findall(pattern, page, re.MULTILINE) == [
        (p.name, p.default_text or "''", p.constraint or 'any', p.changes.value, p.description) for p in PARAMETERS
    ]


def test_the_launch_file_repeats_no_name_and_no_choice_of_the_table() -> None:
    tree = ast.parse((ROOT / 'launch' / 'segment.launch.py').read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not texts & {text for parameter in PARAMETERS for text in (parameter.name, *parameter.choices)}


def test_the_node_page_has_the_classes_of_the_shipped_model(shipped_model: Path) -> None:
    labels = read_model(shipped_model).info.labels
    page = (ROOT / 'docs' / 'node.md').read_text()
    rows = re.findall(r'^\| (\d+) \| (\w+) \| (\d+, \d+, \d+) \|$', page, re.MULTILINE)
    assert labels == CAMVID
    classes = enumerate(zip(labels.names, labels.colors))
    assert rows == [(str(index), name, ', '.join(map(str, color))) for index, (name, color) in classes]

"""Parameters of the node, and the files and options of a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fuzz_inputs import damaged, json_files, raw, reads, texts, values, yaml_files
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_results import CONFIGURATION, LABELS, report_of, without_truth

from enet_ros.errors import EnetError
from enet_ros.replay.class_map import read_class_map, truth_table
from enet_ros.replay.compare import Comparison, compare, parse_allow
from enet_ros.replay.criteria import parse_fail_under, read_criteria
from enet_ros.replay.output import check_output
from enet_ros.replay.report_file import check_report, read_report
from enet_ros.replay.scalars import scalars
from enet_ros.ros.camera_list import CameraTopics, read_cameras
from enet_ros.ros.parameters import PARAMETERS, NodeParameter
from enet_ros.ros.settings import camera_names

_FEWER = settings(max_examples=settings.default.max_examples // 2)
_MORE = settings(max_examples=4 * settings.default.max_examples)
_TEXTS = ('x' * 1_000_000, 'a\n', '')
_PARAMETER_VALUES = values | st.binary(max_size=20) | st.lists(st.integers() | st.floats() | st.booleans(), max_size=5) | (
    st.sampled_from((*_TEXTS, [0.5] * 100_000)))


@_MORE
@given(parameter=st.sampled_from(PARAMETERS), data=st.data())
def test_a_parameter_is_taken_or_refused(parameter: NodeParameter, data: st.DataObject) -> None:
    value = data.draw({int: st.integers(-10, 20_000), float: st.floats() | st.integers(-1, 9), bool: st.booleans(),
                       str: st.sampled_from(parameter.choices or _TEXTS)}[parameter.type] | _PARAMETER_VALUES)
    if reads(lambda: parameter.check(value) or True):
        assert isinstance(value, (int, float) if parameter.type is float else parameter.type)
        assert not parameter.choices or value in parameter.choices
        assert parameter.range is None or parameter.range.minimum <= value <= parameter.range.maximum


@_MORE
@given(text=st.text(max_size=30) | st.lists(st.sampled_from(('front', 'left', '1', 'a-b', '', ' ', 'é', 'a\n', 'x' * 9999)),
                                            max_size=4).map(','.join))
def test_names_of_cameras_are_taken_or_refused(text: str) -> None:
    if names := reads(lambda: camera_names(text)):
        assert names == ('',) or all(name.isascii() and name.isidentifier() for name in names)


@given(content=yaml_files([{'name': 'front', 'image_topic': '/front/image_raw'},
                           {'name': 'left', 'image_topic': '/left/image', 'camera_info_topic': '/left/camera_info'}]))
def test_a_list_of_cameras_is_read_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    for camera in reads(lambda: read_cameras(path)) or []:
        assert isinstance(camera, CameraTopics) and all(isinstance(text, str) and text for text in vars(camera).values())


_CRITERIA = {
    'metrics': {'mean_iou': {'min': 0.6}, 'iou.Traffic light': {'min': 0.3, 'max': 0.9}, 'p99_ms': {'max': 80}},
    'frames': [{'metric': 'mean_iou', 'min': 0.5, 'share': 0.95}, {'metric': 'latency_ms', 'max': 100, 'share': 1}],
    'ignore': [{'start': 0, 'end': 1.5, 'bag': 'drive.mcap', 'reason': 'start'}, {'start': 3, 'end': 4}],
}


@given(content=yaml_files(_CRITERIA) | texts(yaml.safe_dump(_CRITERIA)))
def test_criteria_are_read_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    criteria = reads(lambda: read_criteria(path, LABELS.names))
    if criteria is None:
        return
    assert all(0 <= start < end < float('inf') for start, end in criteria.ignored_in('drive.mcap'))
    results = [check.check(report_of()) for check in criteria.checks]
    assert all(isinstance(result.passed, bool) for result in results)
    json.dumps(criteria.content, allow_nan=False)  # part of the report


_OPTION = st.lists(st.tuples(
    st.sampled_from((*scalars(LABELS.names), 'iou.', 'iou.x', 'é', '')) | st.text(max_size=5),
    st.sampled_from(('=', '==', '', ' = ')),
    st.sampled_from(('0.5', '-0.1', '+10%', '80', '1e400', 'nan', '-inf', '%', '', '1_0', '٣', '9' * 5000))
    | st.text(max_size=5),
).map(''.join), max_size=4).map(','.join)


@_MORE
@given(text=_OPTION)
def test_an_option_with_figures_is_taken_or_refused(text: str) -> None:
    for limit in reads(lambda: parse_fail_under(text, LABELS.names)) or ():
        assert limit.value >= 0 and limit.check(report_of()).passed in (True, False)
    if allowances := reads(lambda: parse_allow(text, LABELS.names)):
        assert all(0 <= allowance.change < float('inf') for allowance in allowances)
        assert isinstance(compare(report_of(), report_of(), allowances), Comparison)


@given(content=yaml_files({'classes': {raw('0'): 'Sky', raw('1'): 'Road', '#804080': 'Lane marking', raw('65535'): 'x'},
                           'map': {'Lane marking': 'Road', 'x': None}}))
def test_a_class_map_is_read_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    class_map = reads(lambda: read_class_map(path))
    if class_map is None:
        return
    json.dumps(class_map.as_json(), allow_nan=False)  # part of the report
    if table := reads(lambda: truth_table(None, class_map, LABELS)):
        assert set(np.unique(table.by_id).tolist()) <= {-1, 0, 1, 2, 255}


_REPORTS = (report_of(), report_of(without_truth()), report_of(mode='live'),
            report_of(failed=[('gone.mcap', EnetError('no such bag'))], **{**CONFIGURATION, 'class_map': {'map': {}}}))


def _check_comparison(path: Path) -> None:
    """Read the report `path` as `enet replay --compare` does."""
    reads(lambda: check_output(path.parent) or True)
    other = reads(lambda: read_report(path))
    if other is None:
        return
    for report in _REPORTS[:3]:
        comparison: Any = reads(lambda report=report: compare(report, other))
        if comparison is not None:
            assert all(isinstance(criterion.passed, bool) for criterion in comparison.criteria)
            check_report({**report, 'comparison': comparison.content()})
            json.dumps(comparison.content(), allow_nan=False)


@_FEWER
@pytest.mark.parametrize('number', range(len(_REPORTS)))
@given(data=st.data())
def test_a_report_is_compared_or_refused(data: st.DataObject, number: int, tmp_path: Path) -> None:
    path = tmp_path / 'report.json'
    path.write_bytes(data.draw(json_files(_REPORTS[number])))
    _check_comparison(path)


@given(content=damaged(json.dumps(report_of()).encode(), 20_000))
def test_a_damaged_report_is_compared_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'report.json').write_bytes(content)
    _check_comparison(tmp_path / 'report.json')

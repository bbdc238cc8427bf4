from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replay_results import LABELS, bag, report_of, result, without_truth

from enet_ros.errors import EnetError, UsageError
from enet_ros.exit_codes import ExitCode
from enet_ros.replay.criteria import Criteria, parse_fail_under, read_criteria
from enet_ros.replay.report_file import check_report
from enet_ros.replay.results import Coverage
from enet_ros.replay.verdict import exit_code, judge


def fail_under(text: str, report: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Judge a report by `--fail-under` and return its criteria."""
    report = report or report_of()
    judge(report, parse_fail_under(text, LABELS.names))
    check_report(report)
    return report['verdict']['criteria']


def criteria(tmp_path: Path, text: str) -> Criteria:
    path = tmp_path / 'gates.yaml'
    path.write_text(text)
    return read_criteria(path, LABELS.names)


def by_file(tmp_path: Path, text: str, report: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Judge a report by a criteria file and return its criteria."""
    report = report or report_of()
    judge(report, criteria=criteria(tmp_path, text))
    check_report(report)
    return report['verdict']['criteria']


@pytest.mark.parametrize(('text', 'passed'), [
    ('iou.Road=0.74', True), ('iou.Road=0.75', True), ('iou.Road=0.7501', False),  # higher is better
    ('max_ms=24', True), ('max_ms=23', True), ('max_ms=22.9', False),  # lower is better
    (' iou.Road = 0.7 , max_ms = 30 ', True), ('iou.Road=0.7,max_ms=3', False), ('flips=0.01,frames=4', True),
])
def test_fail_under_knows_which_direction_is_better(text: str, passed: bool) -> None:
    report = report_of()
    judge(report, parse_fail_under(text, LABELS.names))
    assert report['verdict']['passed'] is passed
    assert exit_code(report) == (ExitCode.SUCCESS if passed else ExitCode.GATE)


def test_a_criterion_says_what_is_required_and_why_it_failed() -> None:
    low, high, good = fail_under('iou.Road=0.8,max_ms=20,frames=4')
    assert low == {'criterion': 'iou.Road must be at least 0.8', 'source': 'fail_under', 'value': 0.75, 'limit': 0.8,
                   'passed': False, 'reason': 'iou.Road is 0.75: must be at least 0.8'}
    assert high['reason'] == 'max_ms is 23: must be at most 20'
    assert good['passed'] and good['reason'] == '' and good['value'] == 4


def test_the_report_keeps_what_was_asked_for(tmp_path: Path) -> None:
    report = report_of()
    asked = criteria(tmp_path, 'metrics:\n  mean_iou: {min: 0.2}\nignore:\n  - {start: 0, end: 1, reason: rain}\n')
    judge(report, parse_fail_under('p99_ms=80', LABELS.names), asked)
    assert report['criteria'] == {
        'fail_under': {'p99_ms': 80}, 'allow': None,
        'file': {'metrics': {'mean_iou': {'min': 0.2}}, 'ignore': [{'start': 0, 'end': 1, 'reason': 'rain'}]},
    }
    assert [one['source'] for one in report['verdict']['criteria']] == ['fail_under', 'criteria']


@pytest.mark.parametrize(('text', 'words'), [
    ('mean_iu=0.6', 'did you mean mean_iou'), ('mean_iou', 'write it like mean_iou=0.60'), ('mean_iou=', 'not NAME=VALUE'),
    ('', 'not NAME=VALUE'), ('mean_iou=0.6,', 'not NAME=VALUE'), ('mean_iou=high', 'must be a number'),
    ('mean_iou=60', '0.6 for 60 %'), ('mean_iou=nan', 'at least 0'), ('fps=1,fps=2', 'fps twice'),
])
def test_a_wrong_fail_under_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_fail_under(text, LABELS.names)


def test_a_missing_figure_fails_with_its_reason() -> None:
    missing, = fail_under('mean_iou=0.1', report_of(without_truth()))
    assert not missing['passed'] and missing['value'] is None
    assert missing['reason'] == 'mean_iou is missing: no pixel was compared with ground truth'
    absent, = fail_under('iou.Traffic light=0')
    assert not absent['passed'] and absent['reason'].endswith('the ground truth has no Traffic light')


def test_a_run_without_frames_fails_without_any_gate() -> None:
    report = report_of(result(ious=(), confusion=[[0] * 4] * 3, confusion_frames={}))
    judge(report)
    check_report(report)
    assert report['verdict']['passed'] is False and report['verdict']['criteria'][0]['source'] == 'always'
    assert exit_code(report) == ExitCode.GATE


def test_without_a_gate_there_is_no_verdict() -> None:
    report = report_of()
    judge(report)
    assert report['verdict'] == {'passed': None, 'criteria': []} and report['criteria'] is None
    assert exit_code(report) == ExitCode.SUCCESS


@pytest.mark.parametrize(('limit', 'code'), [(0.1, ExitCode.INCOMPLETE), (0.9, ExitCode.GATE)], ids=['passed', 'failed'])
def test_incomplete_input_shows_in_the_exit_code_unless_the_gate_failed(limit: float, code: ExitCode) -> None:
    lost = Coverage(5, 4, 1, 4, 0, 0, ('1 frame refused',))
    report = report_of(result(bag(), coverage=lost))
    judge(report, parse_fail_under(f'mean_iou={limit}', LABELS.names))
    assert exit_code(report) == code


def test_a_criteria_file_has_smallest_and_largest_values(tmp_path: Path) -> None:
    found = by_file(tmp_path, 'metrics:\n  iou.Road: {min: 0.75, max: 0.75}\n  max_ms: {max: 22}\n  frames: {min: 5}\n')
    assert [one['passed'] for one in found] == [True, True, False, False]
    assert [one['criterion'] for one in found] == [
        'iou.Road must be at least 0.75', 'iou.Road must be at most 0.75', 'max_ms must be at most 22',
        'frames must be at least 5']


@pytest.mark.parametrize(('entry', 'passed', 'value'), [
    ('{metric: mean_iou, min: 0.7, share: 0.75}', True, 0.75),
    ('{metric: mean_iou, min: 0.7, share: 0.76}', False, 0.75),
    ('{metric: latency_ms, max: 21, share: 0.5}', True, 0.5),
    ('{metric: flips, max: 0.01, share: 1}', True, 1),  # the first frame has none
])
def test_a_share_of_the_frames_must_reach_a_level(entry: str, passed: bool, value: float, tmp_path: Path) -> None:
    found, = by_file(tmp_path, f'frames:\n  - {entry}\n')
    assert found['passed'] is passed and found['value'] == value
    if not passed:
        assert found['reason'] == '3 of 4 frames have mean_iou at least 0.7: must be 76 %'
        assert found['criterion'] == '76 % of the frames must have mean_iou at least 0.7'


def test_a_share_of_frames_without_the_figure_fails(tmp_path: Path) -> None:
    found, = by_file(tmp_path, 'frames: [{metric: mean_iou, min: 0, share: 0.1}]', report_of(without_truth()))
    assert not found['passed'] and 'no frame has mean_iou: no pixel was compared with ground truth' in found['reason']


def test_ignored_ranges_are_of_one_bag_or_of_all(tmp_path: Path) -> None:
    read = criteria(tmp_path, 'ignore:\n  - {start: 0.0, end: 2.5, bag: drive.mcap, reason: exposure settles}\n'
                              '  - {start: 8, end: 9}\n')
    assert read.ignored_in('drive.mcap') == ((0.0, 2.5), (8, 9)) and read.ignored_in('other') == ((8, 9),)


@pytest.mark.parametrize(('text', 'words'), [
    ('metric: {}', r'unknown key "metric": use frames, ignore, metrics'),
    ('metrics: {mean_iou: {minimum: 0.6}}', r'mean_iou has the unknown key "minimum": use max, min'),
    ('metrics: {mean_iou: 0.6}', r'mean_iou is "0.6": must have keys'),
    ('metrics: {mean_iou: {}}', r'mean_iou has no limit'),
    ('metrics: {mean_iou: {min: 0.6, max: 0.5}}', r'no value can pass'),
    ('metrics: {mean_iou: {min: high}}', r'limit of mean_iou is "high"'),
    ('metrics: {iou.Lane: {min: 0.6}}', r'model has no class "Lane"'),
    ('metrics: [mean_iou]', r'metrics must map'),
    ('metrics:', r'metrics must map'),
    ('frames: {metric: mean_iou}', r'frames must be a list'),
    ('frames: [{metric: p99_ms, max: 80, share: 0.9}]', r'no figure "p99_ms"'),
    ('frames: [{metric: mean_iou, min: 0.4}]', r"lacks 'share'"),
    ('frames: [{metric: mean_iou, min: 0.4, share: 95}]', r'share is "95"'),
    ('frames: [{metric: mean_iou, min: 0.4, max: 0.9, share: 0.9}]', r'use two entries'),
    ('ignore: [{start: 3, end: 2}]', r'from 3 to 2'),
    ('ignore: [{start: 0, end: .inf}]', r'and a finite end'),
    ('ignore: [{start: zero, end: 2}]', r'time is "zero"'),
    ('ignore: [{end: 2}]', r"lacks 'start'"),
    ('ignore: [{start: 0, end: 2, reason: 2024-01-01}]', r'reason is "2024-01-01": must be text'),
    ('ignore: [rain]', r'an entry of ignore is "rain"'),
    ('metrics: {frames: {min: 5}, frames: {min: 2}}', r'key "frames" occurs twice'),
    ('a: [', r'cannot read'),
    pytest.param('a: ' + '[' * 5000, r'more than 100 levels', id='too deep'),
    ('', r'must hold keys'),
])
def test_a_wrong_criteria_file_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=words) as caught:
        criteria(tmp_path, text)
    assert 'gates.yaml' in str(caught.value) and '\n' not in str(caught.value)

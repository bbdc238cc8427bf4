from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replay_results import LABELS, bag, report_of, result, without_truth

from enet_ros.errors import EnetError, ImageFileError, UsageError
from enet_ros.exit_codes import ExitCode
from enet_ros.replay.compare import Comparison, check_comparable, compare, parse_allow
from enet_ros.replay.report_file import check_report, read_report, write_report
from enet_ros.replay.results import Coverage
from enet_ros.replay.summary import summarize
from enet_ros.replay.verdict import exit_code, judge

WORSE = ((59, 21, 0, 0), (11, 89, 0, 0), (0, 0, 0, 0))
"""Two more wrong pixels of 180 than the standard bag: about 0.01 less mean IoU."""


def judged(report: dict[str, Any], other: dict[str, Any], allow: str = '') -> Comparison:
    comparison = compare(report, other, parse_allow(allow, LABELS.names) if allow else ())
    judge(report, comparison=comparison)
    check_report(report)
    return comparison


def change(comparison: Comparison, figure: str) -> dict[str, Any]:
    return next(entry for entry in comparison.changes if entry['figure'] == figure)


def failures(comparison: Comparison) -> dict[str, str]:
    return {one.criterion.split()[3]: one.reason for one in comparison.criteria if not one.passed}


def test_equal_reports_pass_and_have_no_change() -> None:
    report = report_of()
    comparison = judged(report, report_of())
    assert report['verdict']['passed'] is True and exit_code(report) == ExitCode.SUCCESS
    assert all(entry['change'] == 0 for entry in comparison.changes) and not comparison.notes
    assert list(comparison.allowed) == ['mean_iou', 'class_average', 'global_accuracy', 'frame_mean_iou', 'frame_accuracy',
                                        'boundary_mean_iou', 'frames', 'truth_frames']


def test_changes_are_absolute_and_relative() -> None:
    report = report_of(result(latency=25))
    comparison = judged(report, report_of())
    assert change(comparison, 'p50_ms') == {'figure': 'p50_ms', 'unit': 'ms', 'better': 'lower', 'before': 21.5,
                                            'after': 26.5, 'change': 5.0, 'relative': round(5 / 21.5, 6)}
    printed = [line.split() for line in summarize(report, LABELS).splitlines()]
    assert ['p50_ms', '21.5', '26.5', '+5', '+23.3%'] in printed
    assert not any(line[:1] == ['mean_iou'] for line in printed)  # has not changed


def test_a_change_from_zero_has_no_relative_one() -> None:
    coverage = Coverage(4, 3, 1, 3, 0, 0, ('1 frame refused',))
    worse, good = report_of(result(ious=(0.6, 0.7, 0.9), coverage=coverage)), report_of()
    assert failures(judged(worse, good, 'dropped=+10%,frames=-2,truth_frames=-2,frame_mean_iou=-0.1')) == {
        'dropped': 'dropped is 0.25, was 0: must be at most 0 (allowed change: +10%)'}
    comparison = judged(worse, good, 'dropped=+0.25,frames=-2,truth_frames=-2,frame_mean_iou=-0.1')  # inclusive
    assert not failures(comparison) and change(comparison, 'dropped')['relative'] is None
    assert ['dropped', '0', '0.25', '+0.25', '-'] in [line.split() for line in summarize(worse, LABELS).splitlines()]
    assert not failures(judged(good, worse, 'dropped=+0%'))


def test_the_summary_says_what_makes_changes_doubtful() -> None:
    report, other = report_of(), report_of()
    other['host'] = {**other['host'], 'CPU': 'Cortex-A78AE, 8 cores'}
    judged(report, other)
    lines = summarize(report, LABELS).splitlines()
    assert 'no figure changed' in lines
    assert any(line.startswith('comparison: latencies cannot be compared: CPU is ') for line in lines)


def test_lower_accuracy_fails_by_default() -> None:
    report = report_of(result(confusion=WORSE))
    comparison = judged(report, report_of())
    assert {'mean_iou', 'class_average', 'global_accuracy'} <= set(failures(comparison)) <= {
        'mean_iou', 'class_average', 'global_accuracy', 'boundary_mean_iou'}
    assert exit_code(report) == ExitCode.GATE
    assert judged(report_of(), report_of(result(confusion=WORSE))).criteria[0].passed  # the other way it is better


def test_latency_is_gated_only_if_it_is_named() -> None:
    slow, fast = report_of(result(latency=40)), report_of()
    assert not failures(judged(slow, fast))
    assert failures(judged(slow, fast, 'max_ms=+10%')) == {
        'max_ms': 'max_ms is 43, was 23: must be at most 25.3 (allowed change: +10%)',
    }
    assert not failures(judged(fast, slow, 'max_ms=0,fps=-0%'))


@pytest.mark.parametrize(('allow', 'passed'), [
    ('iou.Road=-0.3', True), ('iou.Road=-0.2999', False), ('iou.Road=-33.34%', True), ('iou.Road=-33.3%', False),
], ids=['absolute', 'more than absolute', 'relative', 'more than relative'])
def test_the_allowed_change_is_inclusive(allow: str, passed: bool) -> None:
    before, after = report_of(), report_of()
    before['metrics']['pooled']['classes']['Road']['iou'] = 0.9
    after['metrics']['pooled']['classes']['Road']['iou'] = 0.6  # 0.9 - 0.3 is a bit more in binary
    assert bool(failures(judged(after, before, allow))) is not passed


def test_no_change_passes_where_none_is_allowed() -> None:
    allow = ','.join(f'{name}=0' for name in ('mean_iou', 'iou.Sky', 'p99_ms', 'global_accuracy', 'flips'))
    assert not failures(judged(report_of(), report_of(), allow))


def test_an_allowance_replaces_the_default() -> None:
    comparison = judged(report_of(result(confusion=WORSE)), report_of(),
                        'mean_iou=-0.05,class_average=-0.05,global_accuracy=-5%,boundary_mean_iou=-10%')
    assert not failures(comparison)
    assert comparison.allowed['mean_iou'] == '-0.05' and comparison.allowed['global_accuracy'] == '-5%'


@pytest.mark.parametrize(('allow', 'words'), [
    ('mean_iou=0.01', 'higher is better: use -0.01'), ('p99_ms=-10%', r'lower is better: use \+10%'),
    ('mean_iou=-x', 'must be a number or a percentage'), ('mean_iou=-inf', 'must be a number'),
    ('p99=+10%', 'did you mean p99_ms'), ('p99_ms', 'not NAME=VALUE'), ('fps=-1,fps=-2', 'twice'),
])
def test_a_wrong_allowance_is_refused(allow: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_allow(allow, LABELS.names)


def test_other_versions_models_engines_and_sizes_can_be_compared() -> None:
    other = report_of(backend='torch', precision='float16', width=480, height=352, resize_mode='letterbox', threads=4)
    other.update(enet_ros='0.0.1', model={**other['model'], 'sha256': 'cd' * 32, 'name': 'old.safetensors'})
    check_comparable(report_of(), other)
    assert judged(report_of(), other).other == {'enet_ros': '0.0.1', 'model': 'old.safetensors', 'sha256': 'cd' * 32,
                                                'date': other['timing']['date']}


def test_a_report_can_be_compared_with_itself_read_from_a_file(tmp_path: Path) -> None:
    report = report_of(mode='live', classes=('Sky', 'Road'), class_map={'classes': {0: 'Sky'}},
                       ignore=({'start': 0, 'end': 1},))
    judged(report, report)
    write_report(tmp_path / 'report.json', report)
    check_comparable(report, read_report(tmp_path))


def classes(*names: str) -> dict[str, Any]:
    report = report_of()
    return {**report, 'model': {**report['model'], 'classes': list(names)}}


@pytest.mark.parametrize(('other', 'words'), [
    (report_of(mode='live'), 'mode is offline here and live there'),
    (report_of(tolerance=0.1), 'tolerance is 0.05 here and 0.1 there'),
    (report_of(every=5), 'every is 1 here and 5 there'),
    (report_of(start=2.0), 'start is 0.0 here and 2.0 there'),
    (report_of(duration=9.0), 'duration is None here and 9.0 there'),
    (report_of(max_frames=9), 'max_frames is None here and 9 there'),
    (report_of(class_map={'map': {'Lane': 'Road'}}), 'class_map is None here'),
    (report_of(ignore=[{'start': 0, 'end': 1}]), 'ignore is'),
    (report_of(classes=['Road']), 'classes is'),
    (report_of(result(bag('other', '2'))), 'bag drive.mcap is only here; bag other is only there'),
    (report_of(result(bag(digest='2'))), 'bag drive.mcap has another content'),
    (report_of(result(), result(bag('other', '2'))), 'bag other is only there'),
    (report_of(result(), result(bag('copy'))), '1 bags are here and 2 there'),
    (report_of(without_truth()), 'labels_topic of bag drive.mcap is /labels here and none there'),
    (classes('Sky', 'Road', 'Car'), 'classes only here: Traffic light; classes only there: Car'),
    (classes('Road', 'Sky', 'Traffic light'), 'the order of the classes differs'),
], ids=['mode', 'tolerance', 'every', 'start', 'duration', 'max_frames', 'class map', 'ignored', 'reported classes',
        'other bag', 'changed bag', 'more bags', 'copied bag', 'topic', 'classes', 'order'])
def test_unlike_reports_are_refused_with_what_differs(other: dict[str, Any], words: str) -> None:
    with pytest.raises(EnetError) as caught:
        check_comparable(report_of(), other)
    assert words in str(caught.value) and '\n' not in str(caught.value)


def test_a_bag_that_failed_in_the_meantime_fails_the_comparison_and_not_the_report() -> None:
    report = report_of(failed=[('other', ImageFileError('other ends early'))])
    comparison = judged(report, report_of(result(), result(bag('other', '2'))))
    assert exit_code(report) == ExitCode.GATE and not comparison.changes
    assert 'bag other is only there' in report['verdict']['criteria'][0]['reason']


def test_another_machine_is_named_beside_latencies() -> None:
    other = report_of()
    other['host'] = {**other['host'], 'CPU': 'Cortex-A78AE, 8 cores', 'Jetson': 'R36'}
    comparison = judged(report_of(result(latency=40)), other, 'p99_ms=+5%')
    note, = comparison.notes
    assert note.startswith('latencies cannot be compared: CPU is ') and 'Cortex-A78AE, 8 cores there' in note
    assert 'Jetson is none here and R36 there' in failures(comparison)['p99_ms']


def test_fewer_frames_than_before_fail() -> None:
    report = report_of(result(ious=(0.8, 0.8, 0.8), coverage=Coverage(4, 3, 1, 3, 0, 0, ('1 frame refused',))))
    comparison = judged(report, report_of())
    assert failures(comparison) == {
        name: f'{name} is 3, was 4: must be at least 4 (allowed change: 0)' for name in ('frames', 'truth_frames')}
    assert comparison.notes == ['this report does not cover all of its input',
                                '3 frames were compared with ground truth here and 4 there']


def test_live_replays_may_differ_in_their_frames() -> None:
    report = report_of(result(ious=(0.8, 0.8, 0.8)), mode='live')
    assert not {'frames', 'truth_frames'} & judged(report, report_of(mode='live')).allowed.keys()


def test_a_figure_that_got_lost_fails_and_one_that_never_was_does_not() -> None:
    empty = result(ious=(None,) * 4, confusion=[[0] * 4] * 3, confusion_frames={})
    lost = failures(judged(report_of(empty), report_of()))
    assert lost['mean_iou'] == 'mean_iou is missing in this report: no pixel was compared with ground truth'
    assert not failures(judged(report_of(empty), report_of(empty)))
    assert 'missing in the other report' in failures(judged(report_of(empty), report_of(empty), 'mean_iou=-0.1'))['mean_iou']


def test_the_report_keeps_the_comparison() -> None:
    report = report_of()
    comparison = judged(report, report_of(), 'p99_ms=+10%')
    assert report['comparison'] == comparison.content()
    assert report['criteria'] == {'fail_under': None, 'file': None, 'allow': comparison.allowed}
    assert report['criteria']['allow']['p99_ms'] == '+10%' and report['criteria']['allow']['mean_iou'] == '-0.005'

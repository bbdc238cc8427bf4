from __future__ import annotations

from typing import Any

import pytest
from helpers import ROOT
from replay_results import LABELS, report_of, result, without_truth

from enet_ros.errors import UsageError
from enet_ros.replay.scalars import CLASS, FRAME_SCALARS, SCALARS, Scalar, check_value, find_scalar, scalars

TABLE = scalars(LABELS.names)


def test_every_figure_is_found_in_a_report_that_has_all() -> None:
    report = report_of(mode='live')
    lacking = {name for name, scalar in TABLE.items() if scalar.value(report) is None}
    assert lacking == {f'{kind}.Traffic light' for kind in ('iou', 'accuracy', 'boundary_iou')}
    for scalar in FRAME_SCALARS:
        column: Any = scalar.value(report)
        assert len(column) == report['frames_out'], scalar.name


@pytest.mark.parametrize(('name', 'value'), [
    ('iou.Road', 0.75), ('accuracy.Road', 0.9), ('boundary_iou.Road', 0.75), ('global_accuracy', 150 / 180),
    ('frame_mean_iou', 0.75), ('frames', 4), ('p50_ms', 21.5), ('max_ms', 23), ('dropped', 0), ('jitter_ms', 1.5),
])
def test_a_figure_has_its_own_value(name: str, value: float) -> None:
    assert TABLE[name].value(report_of(mode='live')) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(('name', 'reason'), [
    ('mean_iou', 'ground truth'), ('iou.Road', 'ground truth'), ('boundary_mean_iou', 'no pixel was compared'),
    ('frame_accuracy', 'ground truth'), ('jitter_ms', '--mode live'), ('flips', ''),
])
def test_a_figure_that_a_report_lacks_has_a_reason(name: str, reason: str) -> None:
    absence = TABLE[name].absence(report_of(without_truth()))
    assert reason in absence and bool(reason) == bool(absence)


def test_a_class_that_is_predicted_but_not_in_the_ground_truth_counts_as_absent() -> None:
    report = report_of(result(confusion=((9, 0, 1, 0), (0, 9, 0, 0), (0, 0, 0, 0))))
    light = TABLE['iou.Traffic light']
    assert light.value(report) == 0 and light.absence(report) == 'the ground truth has no Traffic light'
    assert TABLE['iou.Sky'].absence(report) == ''


@pytest.mark.parametrize(('name', 'words'), [
    ('mean_iu', 'did you mean mean_iou'),
    ('iou.road', 'the model has no class "road": did you mean iou.Road'),
    ('iou.Lane', 'the model has no class "Lane": its classes are Sky, Road, Traffic light'),
    ('zzz', 'use mean_iou, .*jitter_ms, accuracy.CLASS, boundary_iou.CLASS, iou.CLASS$'),
    (7, 'no figure "7"'),
])
def test_an_unknown_figure_is_refused_with_names_that_are_alike(name: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_scalar(TABLE, name)


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('mean_iou', 60, 'such as 0.6 for 60 %'), ('p99_ms', -1, 'at least 0'), ('p99_ms', float('nan'), 'at least 0'),
    ('p99_ms', float('inf'), 'at least 0'), ('p99_ms', True, '"True"'), ('mean_iou', '0.6', 'must be a number'),
])
def test_a_limit_that_no_figure_can_have_is_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_value(TABLE[name], value)
    assert check_value(TABLE['p99_ms'], 80) == 80


def rows(scalars: tuple[Scalar, ...]) -> list[str]:
    return [f'| `{scalar.name.replace(CLASS, "CLASS")}` | {scalar.description} | {scalar.unit} | {scalar.better} |'
            for scalar in scalars]


def test_the_documentation_lists_the_figures() -> None:
    lines = (ROOT / 'docs' / 'replay.md').read_text().splitlines()
    assert [line for line in lines if line.endswith(('| higher |', '| lower |'))] == [*rows(SCALARS), *rows(FRAME_SCALARS)]

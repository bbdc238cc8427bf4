from __future__ import annotations

import json
import os
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from replay_results import CONFIGURATION, CONFUSION, LABELS, LIVE, MODEL, bag, report_of, result, without_truth

from enet_ros.errors import EnetError, ImageFileError
from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.replay.criteria import parse_fail_under
from enet_ros.replay.report import build_report
from enet_ros.replay.report_file import check_report, read_report, report_schema, write_report
from enet_ros.replay.results import Coverage, ReplayResult
from enet_ros.replay.summary import summarize
from enet_ros.replay.verdict import judge

OTHER = ((10, 0, 0, 0), (0, 10, 0, 5), (0, 5, 5, 0))


def two_bags() -> dict[str, Any]:
    second = result(bag('second', '2'), (0.2, None), latency=40, confusion=OTHER,
                    confusion_frames={(0, 1): ((1, 12), (0, 9), (1, 7), (0, 6), (1, 5)), (2, 1): ((0, 5),)})
    return report_of(result(), second)


def test_pixels_of_all_bags_are_pooled_as_enet_evaluate_does() -> None:
    confusion = np.add(CONFUSION, OTHER)
    report = two_bags()
    assert report['metrics']['pooled'] == Evaluation(LABELS, 5, confusion).summary()
    assert report['mean_iou'] == report['metrics']['pooled']['mean_iou']
    assert report['metrics']['confusion'] == confusion.tolist()


def test_each_bag_has_its_mean_iou_and_the_lowest_can_be_gated() -> None:
    bad = result(bag('rain.mcap', '2'), confusion=((50, 50, 0, 0), (50, 50, 0, 0), (0, 0, 0, 0)))
    blind = result(bag('blind.mcap', '3'), ious=(None,) * 4, confusion=np.zeros((3, 4), np.int64), confusion_frames={})
    report = report_of(result(), bad, blind)
    # Sky 60 / 90 and Road 90 / 120; 50 / 150 each
    assert [one['mean_iou'] for one in report['bags']] == [round((60 / 90 + 90 / 120) / 2, 6), round(1 / 3, 6), None]
    judge(report, parse_fail_under('mean_iou=0.4,bag_mean_iou=0.4,truth_frames=9', LABELS.names))
    assert [one['passed'] for one in report['verdict']['criteria']] == [True, False, False]
    assert 'mean IoU of rain.mcap: 33.3 %' in summarize(report, LABELS)


def test_means_over_frames_leave_out_frames_without_the_figure() -> None:
    metrics = two_bags()['metrics']
    assert metrics['mean_over_frames'] == {'mean_iou': 0.64, 'accuracy': 0.8}
    assert metrics['stability'] == {'flips': 0.01, 'pairs': 4}
    assert metrics['class_share'] == {'Sky': 0.5, 'Road': 0.25, 'Traffic light': 0.25}
    assert metrics['confidence']['mean'] == (0.2 + 3) / 4 and sum(metrics['confidence']['histogram']) == 8


def test_boundary_figures_come_from_the_pixels_near_boundaries() -> None:
    boundary = report_of()['metrics']['boundary']
    assert boundary['classes'] == {'Sky': round(6 / 9, 6), 'Road': 0.75, 'Traffic light': None}
    assert boundary['mean_iou'] == round((6 / 9 + 0.75) / 2, 6)


def test_frames_are_numbered_over_all_bags() -> None:
    report = two_bags()
    assert report['frames']['bag'] == [0, 0, 0, 0, 1, 1]
    assert report['frames']['mean_iou'] == [0.6, 0.7, 0.8, 0.9, 0.2, None]
    assert report['timing']['frames_ms'] == [20, 21, 22, 23, 40, 41]
    assert report['metrics']['confusion_frames'] == [
        {'true': 0, 'predicted': 1, 'frames': [[2, 12], [5, 12], [4, 9], [0, 8], [5, 7]]},
        {'true': 1, 'predicted': 3, 'frames': [[1, 5]]},
        {'true': 2, 'predicted': 1, 'frames': [[4, 5]]},
    ]


def test_latency_is_of_all_frames_that_have_one() -> None:
    latencies = [10.0, None, *map(float, range(20, 118))]
    timing = report_of(result(ious=(0.5,) * 100, timing={'latency_ms': latencies, 'seconds': 4.0}))['timing']
    known = sorted(value for value in latencies if value is not None)
    assert timing['latency_ms'] == {'p50': known[49], 'p90': round(np.percentile(known, 90), 3),
                                    'p99': round(np.percentile(known, 99), 3), 'max': 117, 'mean': round(np.mean(known), 3)}
    assert timing['fps'] == 25 and timing['dropped'] == 0 and timing['frames_ms'][1] is None


def test_dropped_is_the_share_of_selected_frames_without_labels() -> None:
    coverage = Coverage(selected=5, segmented=4, refused=1, with_truth=4, without_truth=0, truth_refused=0,
                        problems=('1 frame refused: not an image',))
    report = report_of(result(coverage=coverage))
    assert (report['frames_in'], report['frames_out'], report['timing']['dropped']) == (5, 4, 0.2)
    assert not report['complete'] and report['bags'][0]['coverage']['problems'] == ['1 frame refused: not an image']


def test_a_failed_bag_is_named_and_the_report_incomplete() -> None:
    report = report_of(failed=[('b.mcap', ImageFileError('b.mcap is\nno bag'))])
    assert report['failed_bags'] == [{'name': 'b.mcap', 'error': 'b.mcap is no bag'}]
    assert not report['complete'] and report_of()['complete']


EMPTY = result(ious=(), confusion=np.zeros((3, 4)), confusion_frames={}, confidence_histogram=None)


@pytest.mark.parametrize('results', [[without_truth()], [EMPTY], []], ids=['no ground truth', 'no frame', 'no bag'])
def test_figures_that_cannot_be_computed_are_null(results: list[ReplayResult], tmp_path: Path) -> None:
    report = build_report(results, [], MODEL, CONFIGURATION, 'offline')
    assert report['mean_iou'] is None
    assert all(report['metrics'][name] is None for name in ('pooled', 'boundary', 'confusion'))
    assert report['metrics']['mean_over_frames'] == {'mean_iou': None, 'accuracy': None}
    check_report(report)
    write_report(tmp_path / 'report.json', report)  # refuses NaN
    assert read_report(tmp_path) == report


def test_only_timing_differs_between_two_replays() -> None:
    first, second = report_of(result()), report_of(result(latency=30))
    assert first.pop('timing') != second.pop('timing')
    assert json.dumps(first) == json.dumps(second)


def test_live_figures_are_also_at_the_top() -> None:
    report = report_of(mode='live')
    assert report['fps'] == report['timing']['fps']
    assert report['latency_ms'] == {name: report['timing']['latency_ms'][name] for name in ('p50', 'p99')}
    assert report['timing']['live'] == LIVE
    check_report(report)
    assert 'fps' not in report_of()


def undescribed(value: object, schema: dict[str, Any], root: dict[str, Any], place: str = '') -> list[str]:
    """Return the keys of a report that the schema does not describe."""
    if '$ref' in schema:
        schema = root['$defs'][schema['$ref'].rpartition('/')[2]]
    if isinstance(value, dict) and ('properties' in schema or 'additionalProperties' in schema):
        found = []
        for key, part in value.items():
            described = schema.get('properties', {}).get(key) or schema.get('additionalProperties')
            found += undescribed(part, described, root, f'{place}.{key}') if described else [f'{place}.{key}']
        return found
    if isinstance(value, list):
        return [key for part in value for key in undescribed(part, schema.get('items', {}), root, place)]
    return []


def test_the_schema_is_valid_and_describes_every_key() -> None:
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for mode, live in (('offline', {}), ('live', {'live': LIVE})):
        report = report_of(result(timing={'latency_ms': [1.0] * 4, 'seconds': 1.0, **live}), mode=mode)
        check_report(report)
        assert undescribed(report, schema, schema) == []
    # also with the newest draft that jsonschema 3.2 of Ubuntu 22.04 knows
    assert jsonschema.Draft7Validator(schema).is_valid(report)
    assert not jsonschema.Draft7Validator(schema).is_valid({**report, 'mean_iou': 60})


def test_a_report_identifies_model_bags_and_machine() -> None:
    report = report_of()
    assert report['model']['sha256'] == MODEL.sha256 and report['model']['classes'] == list(LABELS.names)
    assert report['bags'][0]['sha256'] == '1' * 64 and report['bags'][0]['labels_topic'] == '/labels'
    assert 'cores for this process' in report['host']['CPU']
    assert report['configuration']['tolerance'] == 0.05


DEEP = reduce(lambda inner, _: {'a': inner}, range(300), {})


def changed(**fields: object) -> str:
    return json.dumps({**report_of(), **fields})


@pytest.mark.parametrize(('text', 'words'), [
    ('not json', 'is not JSON'),
    ('[' * 100_000, 'is not JSON'),
    (changed(configuration=DEEP), 'more than 100 levels'),
    ('{"format": NaN}', 'NaN is not a number'),
    ('[1, 2]', 'is not the report of a replay'),
    ('{"mean_iou": 0.6, "classes": {}}', 'is not the report of a replay'),  # of enet evaluate
    (changed(format=2), 'has report format 2, this package reads 1'),
    (changed(format='2\n' + 99 * 'x'), 'has report format 2\\n' + 38 * 'x' + ', this package reads 1'),
    (changed(mean_iou='high'), "not a valid report (mean_iou: 'high' is not of type"),
    (changed(metrics={}), 'not a valid report (metrics: '),
    (changed(bags=[{}]), 'not a valid report (bags.0: '),
    (changed(timing={**report_of()['timing'], 'live': {'jitter_ms': 'low'}}),
     "(timing.live.jitter_ms: 'low' is not of type"),
    (changed(frames=[]), 'not a valid report (frames: '),
    (changed(frames={**report_of()['frames'], 'flips': [2]}), 'not a valid report (frames.flips.0: '),
], ids=['text', 'deep', 'a deep value', 'NaN', 'list', 'evaluation', 'format', 'long format', 'type', 'missing', 'bag',
        'live', 'frames', 'column'])
def test_what_is_not_a_report_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'report.json'
    path.write_text(text)
    with pytest.raises(EnetError) as caught:
        read_report(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    assert '\n' not in str(caught.value)
    assert str(caught.value).endswith(('use the report.json of an "enet replay"', 'with the same version of enet_ros again'))


def test_a_report_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnetError, match=r'no report .*report\.json'):
        read_report(tmp_path)
    os.mkfifo(tmp_path / 'report.json')
    with pytest.raises(EnetError, match=r'cannot read report .*report\.json: it is not a regular file'):
        read_report(tmp_path)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full, which Linux has')
def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'report.json'
    write_report(path, report_of())
    before = path.read_bytes()
    write = Path.write_bytes
    monkeypatch.setattr(Path, 'write_bytes', lambda self, data: write(Path('/dev/full'), data))
    with pytest.raises(EnetError, match='No space left on device'):
        write_report(path, report_of(result(latency=30)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]

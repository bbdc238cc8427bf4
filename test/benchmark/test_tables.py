from __future__ import annotations

import dataclasses
from pathlib import Path

from enet_ros.benchmark.case import Case, Row
from enet_ros.benchmark.report import report
from enet_ros.benchmark.suite import Results
from enet_ros.benchmark.tables import (
    CostRow,
    Floor,
    costs_table,
    details_table,
    floors_table,
    profile_table,
    ratios_table,
    times_table,
)
from enet_ros.engines.base import EngineSpec


def _row(model: str, size: tuple[int, int], milliseconds: float, backend: str = 'openvino') -> Row:
    return Row(model, backend, 'fp32', 'cpu', *size, 1, milliseconds, milliseconds, milliseconds, milliseconds,
               1e3 / milliseconds, 100, 10, 3.25, None)


def _case(backend: str) -> Case:
    return Case(Path('segnet.safetensors'), EngineSpec(backend, 'fp32', 1280, 720), 1, False)


def _cells(table: str, first: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f'| {first} |'))
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_table_2_has_a_column_per_size_and_a_dash_where_memory_is_short() -> None:
    rows = [_row('enet', (1280, 720), 80), _row('enet', (640, 360), 20), _row('segnet', (640, 360), 400)]
    table = times_table(rows, [_case('openvino')])
    assert _cells(table, 'ms / fps')[5:] == ['640x360', '1280x720']
    assert _cells(table, 'enet')[5:] == ['20.0 / 50.0', '80.0 / 12.5']
    assert _cells(table, 'segnet')[5:] == ['400.0 / 2.5', '-']
    assert '| ENet (paper) | Torch7 and cuDNN |  | TX1 | 1 | 69 / 14.6 | 262 / 3.8 |' in table


def test_segnet_and_enet_are_compared_by_backend_and_size() -> None:
    rows = [_row('e', (640, 360), 20), _row('s', (640, 360), 400), _row('e', (640, 360), 90, 'torch'),
            _row('s', (640, 360), 180, 'torch'), _row('e', (480, 320), 5)]
    table = ratios_table(rows, {'e': 'ENet', 's': 'SegNet'})
    assert _cells(table, 'openvino') == ['openvino', 'fp32', '1', '-', '20.0']
    assert _cells(table, 'torch') == ['torch', 'fp32', '1', '-', '2.0']
    assert _cells(table, 'paper, TX1') == ['paper, TX1', '', '1', '16.1', '18.1']
    assert ratios_table(rows[:1], {'e': 'ENet'}) == ''


def test_table_3_has_the_figures_of_the_paper_in_brackets() -> None:
    table = costs_table([CostRow('a', 'ENet', 11, 3.6, 370_000, 0.7), CostRow('b', 'SegNet', 11, 288, 29_400_000, 56)])
    assert _cells(table, 'a (ENet)') == ['a (ENet)', '11', '3.60 (3.83)', '0.37 M (0.37 M)', '0.7 MB (0.7 MB)']
    assert _cells(table, 'SegNet / ENet')[2:] == ['80 (75)', '79 (80)', '80 (80)']


def test_power_is_blank_where_it_was_not_measured() -> None:
    assert _cells(details_table([_row('enet', (640, 360), 20)]), 'enet')[-2:] == ['3.25', '']


def test_the_time_is_compared_with_the_larger_minimum() -> None:
    table = floors_table([Floor(_row('a', (640, 360), 30), 10, 2), Floor(_row('b', (640, 360), 30), 1, 5)])
    assert _cells(table, 'a')[-3:] == ['10.00', '2.00', '3.0']
    assert _cells(table, 'b')[-3:] == ['1.00', '5.00', '6.0']


def test_a_busy_machine_is_reported() -> None:
    results = Results([_row('enet', (640, 360), 20)])
    assert 'busy' not in report({}, results, {'enet': 'ENet'}, [], [], {})[0]
    results.rows.append(dataclasses.replace(results.rows[0], end_to_end_p99_ms=60))
    assert 'some runs took 3.0 times as long as the median' in report({}, results, {'enet': 'ENet'}, [], [], {})[0]


def test_operations_below_1_percent_are_left_out() -> None:
    table = profile_table([('convolution', 80, 9.0), ('pad', 2, 1.0), ('copy', 1, 0.05)])
    assert _cells(table, 'convolution') == ['convolution', '80', '9.00', '90 %']
    assert _cells(table, 'pad')[-1] == '10 %' and 'copy' not in table


def test_cases_that_were_not_measured_are_reported_with_the_reason() -> None:
    results = Results([_row('enet', (640, 360), 20)], [_case('torch')], left_out={_case('tensorrt'): 'no GPU'})
    text, data = report({'CPU': 'x'}, results, {'enet': 'ENet'}, [], [], {}, ['floors: broken'])
    assert '* not measured: tensorrt fp32: no GPU' in text and '* not measured: floors: broken' in text
    key = {'model': 'segnet', 'precision': 'fp32', 'width': 1280, 'height': 720, 'batch': 1}
    assert data['out_of_memory'] == [{**key, 'backend': 'torch'}]
    assert data['not_measured'] == [{**key, 'backend': 'tensorrt', 'reason': 'no GPU'}]

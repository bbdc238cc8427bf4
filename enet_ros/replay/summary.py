"""What a replay prints: its figures, what changed against another report, what was lost, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from enet_ros.evaluation.evaluate import Evaluation
from enet_ros.labels import LabelSet
from enet_ros.replay.page_summary import ignored_ranges, seen_images

_COLUMNS = {'before': '.6g', 'after': '.6g', 'change': '+.6g', 'relative': '+.1%'}
"""Columns of a change, with their format."""


def summarize(report: Mapping[str, Any], labels: LabelSet) -> str:
    """Return a summary of a report for a terminal. `labels` are those of the model."""
    return '\n'.join([*_heading(report), *_figures(report, labels), *_changes(report), *_losses(report), *_verdict(report)])


def _heading(report: Mapping[str, Any]) -> Iterator[str]:
    configuration = report['configuration']
    names = [bag['name'] for bag in report['bags']]
    bags = names[0] if len(names) == 1 else f'{len(names)} bags'
    yield (f'{report["model"]["name"]} on {bags}: {report["frames_out"]} of {report["frames_in"]} frames at '
           f'{configuration["width"]}x{configuration["height"]} ({configuration["resize_mode"]}), '
           f'{configuration["backend"]} {configuration["precision"]}, {report["mode"]}')
    if seen := seen_images(report):
        yield seen


def _figures(report: Mapping[str, Any], labels: LabelSet) -> Iterator[str]:
    metrics, timing = report['metrics'], report['timing']
    if metrics['pooled']:
        yield Evaluation(labels, metrics['pooled']['images'], np.array(metrics['confusion'])).table()
    compared = [bag for bag in report['bags'] if bag['mean_iou'] is not None]
    if len(compared) > 1:
        yield from (f'mean IoU of {bag["name"]}: {100 * bag["mean_iou"]:.1f} %' for bag in compared)
    rows = [
        ('mean IoU over frames', metrics['mean_over_frames']['mean_iou'], 100, '%'),
        ('mean IoU near boundaries', (metrics['boundary'] or {}).get('mean_iou'), 100, '%'),
        ('flips between frames', metrics['stability']['flips'], 100, '%'),
        ('mean confidence', (metrics['confidence'] or {}).get('mean'), 100, '%'),
        ('latency p50', timing['latency_ms']['p50'], 1, 'ms'),
        ('latency p99', timing['latency_ms']['p99'], 1, 'ms'),
        ('frames per second', timing['fps'], 1, ''),
        *([('dropped', timing['dropped'], 100, '%')] if report['mode'] == 'live' else []),
    ]
    for name, value, factor, unit in rows:
        if value is not None:
            yield f'{name:<24} {factor * value:>8.1f} {unit}'.rstrip()


def _changes(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures that differ from those of `--compare` as a table, and what to know when reading it."""
    comparison = report['comparison'] or {'changes': [], 'notes': []}
    rows = [
        (entry['figure'], *('-' if entry[key] is None else f'{entry[key]:{form}}' for key, form in _COLUMNS.items()))
        for entry in comparison['changes'] if entry['change'] != 0
    ]
    if rows:
        rows.insert(0, ('changed', *_COLUMNS))
        width = max(len(name) for name, *_ in rows)
        yield from (f'{name:<{width}}' + ''.join(f' {cell:>10}' for cell in cells) for name, *cells in rows)
    elif comparison['changes']:
        yield 'no figure changed'
    yield from (f'comparison: {note}' for note in comparison['notes'])


def _losses(report: Mapping[str, Any]) -> Iterator[str]:
    for bag in report['bags']:
        yield from (f'{bag["name"]}: {note}' for note in bag['coverage']['notes'])
        for problem in bag['coverage']['problems']:
            yield f'incomplete: {bag["name"]}: {problem}'
        if (without := bag['coverage']['without_truth']) and (compared := bag['coverage']['with_truth']):
            yield f'{bag["name"]}: frames compared with ground truth: {compared}, without: {without}'
    yield from (line for kind, line in ignored_ranges(report) if kind == 'problem')
    for bag in report['failed_bags']:
        yield f'not replayed: {bag["name"]}: {bag["error"]}'


def _verdict(report: Mapping[str, Any]) -> Iterator[str]:
    verdict = report['verdict']
    for criterion in verdict['criteria']:
        yield f'passed: {criterion["criterion"]}' if criterion['passed'] else f'FAILED: {criterion["reason"]}'
    if verdict['passed'] is not None:
        incomplete = '' if report['complete'] else ', but the input is incomplete'
        yield f'verdict: {"passed" + incomplete if verdict["passed"] else "FAILED"}'

"""The paper's Tables 2 and 3 with the figures of this machine, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enet_ros.benchmark.case import Case, Operation, Row

Size = tuple[int, int]
PAPER_SIZES: tuple[Size, ...] = ((480, 320), (640, 360), (1280, 720), (1920, 1080))
_PAPER_TIMES: dict[str, dict[str, dict[Size, tuple[float, float]]]] = {
    'TX1': {
        'ENet': {(480, 320): (47, 21.1), (640, 360): (69, 14.6), (1280, 720): (262, 3.8)},
        'SegNet': {(480, 320): (757, 1.3), (640, 360): (1251, 0.8)},
    },
    'Titan X': {
        'ENet': {(640, 360): (7, 135.4), (1280, 720): (21, 46.8), (1920, 1080): (46, 21.6)},
        'SegNet': {(640, 360): (69, 14.6), (1280, 720): (289, 3.5), (1920, 1080): (637, 1.6)},
    },
}
"""Milliseconds and images per second of Table 2."""
_PAPER_COSTS = {'SegNet': (286.03, 29.46, 56.2), 'ENet': (3.83, 0.37, 0.7)}
"""GFLOPs, millions of parameters and megabytes of Table 3."""


@dataclass(frozen=True)
class CostRow:
    """The cost of a network, as in Table 3."""

    model: str
    network: str
    """ENet or SegNet."""
    classes: int
    gflops: float
    """Operations of the convolutions for one 640x360 image, in billions; a multiply-add counts as two."""
    parameters: int
    fp16_mb: float
    """Size of the parameters in half precision, in megabytes (2^20 bytes)."""


@dataclass(frozen=True)
class Floor:
    """The minimum time of a measured case on its machine."""

    row: Row
    arithmetic_ms: float
    """Time of the operations of its convolutions at the rate of a large convolution."""
    traffic_ms: float
    """Time to read and write the inputs, weights and outputs of its convolutions at the rate of a large copy. Caches may be
    faster."""


def times_table(rows: Sequence[Row], out_of_memory: Sequence[Case] = ()) -> str:
    """Return Table 2: milliseconds and images per second, end to end, by size. A dash means not enough memory."""
    cells = {(row.model, row.backend, row.precision, row.batch, (row.width, row.height)): row for row in rows}
    missing = [
        (case.model.stem, case.spec.backend, case.spec.precision, case.spec.batch, case.spec.size) for case in out_of_memory
    ]
    sizes = _by_area(key[4] for key in (*cells, *missing))
    lines = _header(['ms / fps', 'backend', 'precision', 'device', 'batch'], sizes)
    devices = {(row.backend, row.precision): row.device for row in rows}
    for key in dict.fromkeys(key[:4] for key in (*cells, *missing)):
        figures = [_cell(cells[(*key, size)]) if (*key, size) in cells else '-' for size in sizes]
        model, backend, precision, batch = key
        lines.append(_line([model, backend, precision, devices.get((backend, precision), ''), str(batch), *figures]))
    for device, networks in _PAPER_TIMES.items():
        for network, times in networks.items():
            figures = ['{:g} / {}'.format(*times[size]) if size in times else '-' for size in sizes]
            lines.append(_line([f'{network} (paper)', 'Torch7 and cuDNN', '', device, '1', *figures]))
    return '\n'.join(lines)


def details_table(rows: Iterable[Row]) -> str:
    """Return the details of each row: the network alone, the slowest runs, memory, power and the ratio to PyTorch eager."""
    lines = _header(['model', 'backend', 'precision', 'batch', 'size', 'network ms', 'network p99', 'end to end ms',
                     'end to end p99', 'runs', 'memory MB', 'times eager', 'power W'], [])
    for row in rows:
        lines.append(_line([
            row.model, row.backend, row.precision, str(row.batch), f'{row.width}x{row.height}', f'{row.engine_ms:.2f}',
            f'{row.engine_p99_ms:.2f}', f'{row.end_to_end_ms:.2f}', f'{row.end_to_end_p99_ms:.2f}', str(row.runs),
            f'{row.peak_memory_mb:.0f}', f'{row.times_eager:.2f}' if row.times_eager else '',
            f'{row.power_w:.1f}' if row.power_w else '',
        ]))
    return '\n'.join(lines)


def ratios_table(rows: Sequence[Row], network_names: Mapping[str, str]) -> str:
    """Return how many times as long as ENet SegNet takes, by backend and size, and the paper's ratios; empty without both.

    `network_names` has the network of each model, ENet or SegNet. Of several ENets the first counts.
    """
    sizes = _by_area((row.width, row.height) for row in rows)
    times: dict[tuple[str, str, int], dict[str, dict[Size, float]]] = {}
    for row in rows:
        by_network = times.setdefault((row.backend, row.precision, row.batch), {})
        by_network.setdefault(network_names[row.model], {}).setdefault((row.width, row.height), row.end_to_end_ms)
    lines = _header(['SegNet / ENet', 'precision', 'batch'], sizes)
    paper = {
        (f'paper, {device}', '', 1): {
            network: {size: time for size, (time, _) in by_size.items()} for network, by_size in networks.items()
        }
        for device, networks in _PAPER_TIMES.items()
    }
    both = {key: by_network for key, by_network in times.items() if len(by_network) == 2}
    for (backend, precision, batch), by_network in (both | paper if both else {}).items():
        enet, segnet = by_network['ENet'], by_network['SegNet']
        if enet.keys() & segnet.keys() & set(sizes):
            figures = [f'{segnet[size] / enet[size]:.1f}' if size in enet and size in segnet else '-' for size in sizes]
            lines.append(_line([backend, precision, str(batch), *figures]))
    return '\n'.join(lines) if both else ''


def costs_table(costs: Sequence[CostRow]) -> str:
    """Return Table 3, the paper's figures in brackets, and the ratio of the first SegNet to the first ENet."""
    lines = _header(['', 'classes', 'GFLOPs at 640x360', 'parameters', 'fp16 size'], [])
    for cost in costs:
        gflops, parameters, megabytes = _PAPER_COSTS[cost.network]
        lines.append(_line([
            f'{cost.model} ({cost.network})', str(cost.classes), f'{cost.gflops:.2f} ({gflops})',
            f'{cost.parameters / 1e6:.2f} M ({parameters} M)', f'{cost.fp16_mb:.1f} MB ({megabytes} MB)',
        ]))
    by_network = {cost.network: cost for cost in reversed(costs)}
    if len(by_network) == 2:
        enet, segnet = by_network['ENet'], by_network['SegNet']
        ours = (segnet.gflops / enet.gflops, segnet.parameters / enet.parameters, segnet.fp16_mb / enet.fp16_mb)
        papers = (large / small for large, small in zip(_PAPER_COSTS['SegNet'], _PAPER_COSTS['ENet']))
        lines.append(_line(['SegNet / ENet', '', *(f'{our:.0f} ({paper:.0f})' for our, paper in zip(ours, papers))]))
    return '\n'.join(lines)


def floors_table(floors: Iterable[Floor]) -> str:
    """Return how far the networks alone are from the minimum time that arithmetic and memory allow."""
    lines = _header(['network alone', 'backend', 'precision', 'batch', 'size', 'ms', 'arithmetic ms', 'traffic ms',
                     'times the larger'], [])
    for floor in floors:
        row = floor.row
        lines.append(_line([
            row.model, row.backend, row.precision, str(row.batch), f'{row.width}x{row.height}', f'{row.engine_ms:.2f}',
            f'{floor.arithmetic_ms:.2f}', f'{floor.traffic_ms:.2f}',
            f'{row.engine_ms / max(floor.arithmetic_ms, floor.traffic_ms):.1f}',
        ]))
    return '\n'.join(lines)


def profile_table(operations: Sequence[Operation]) -> str:
    """Return the kinds of operations in the given order, without those below 1 % of the time."""
    whole = sum(milliseconds for *_, milliseconds in operations)
    lines = _header(['operation', 'number', 'ms', 'share'], [])
    for kind, count, milliseconds in operations:
        if milliseconds >= whole / 100:
            lines.append(_line([kind, str(count), f'{milliseconds:.2f}', f'{100 * milliseconds / whole:.0f} %']))
    return '\n'.join(lines)


def _by_area(sizes: Iterable[Size]) -> list[Size]:
    return sorted(set(sizes), key=lambda size: size[0] * size[1])


def _header(columns: Sequence[str], sizes: Sequence[Size]) -> list[str]:
    names = [*columns, *(f'{width}x{height}' for width, height in sizes)]
    return [_line(names), _line(['---'] * len(names))]


def _line(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _cell(row: Row) -> str:
    return f'{row.end_to_end_ms:.1f} / {row.fps:.1f}'

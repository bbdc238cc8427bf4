"""Which cases to measure, and measuring them one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from enet_ros.benchmark.measure import EAGER, Case, Row, eager_precision, measure
from enet_ros.benchmark.profile import profile
from enet_ros.benchmark.tables import CostRow, Floor
from enet_ros.engines.base import BACKENDS, PRECISIONS
from enet_ros.engines.create import missing_packages
from enet_ros.errors import EnetError, EngineError, NotMeasurableError, OutOfMemoryError
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.network.model_file import ModelFile, read_model

BENCHMARK_BACKENDS = (*(backend for backend in BACKENDS if backend != 'auto'), EAGER)
BENCHMARK_PRECISIONS = tuple(precision for precision in PRECISIONS if precision != 'auto')
_BYTES = {'fp32': 4, 'fp16': 2, 'bf16': 2}
NETWORK_NAMES = {'enet': 'ENet', 'segnet': 'SegNet'}
"""Of the networks in model files, as the paper writes them."""


@dataclass
class Results:
    """What came of the cases."""

    rows: list[Row] = field(default_factory=list)
    out_of_memory: list[Case] = field(default_factory=list)
    interrupted: bool = False
    left_out: dict[Case, str] = field(default_factory=dict)
    """Cases that cannot be measured here, and why."""


def choose_backends(backends: Sequence[str] | None) -> list[str]:
    """Return the backends to measure: `backends`, or else all that are installed and compile in seconds.

    Raises:
        EngineError: one of `backends` is not installed; names the packages.

    """
    if backends is None:
        return [name for name in BENCHMARK_BACKENDS
                if not _missing(name) and (name != 'torch-compile' or has_nvidia_gpu())]
    for name in backends:
        if missing := _missing(name):
            raise EngineError(f'backend {name} is not installed: pip install {" ".join(missing)}')
    return list(backends)


@contextmanager
def benchmark_models(paths: Sequence[Path], segnet: bool) -> Iterator[dict[Path, ModelFile]]:
    """Yield the model files at `paths` and, with `segnet` and where torch is installed, an untrained SegNet beside them.

    Raises:
        EnetError: a file cannot be used, or two have the same name.

    """
    models = {path: read_model(path) for path in paths}
    if len({path.stem for path in models}) < len(models):
        raise EnetError('two model files have the same name, and the tables name them by it: rename one')
    with TemporaryDirectory(prefix='enet-benchmark-') as folder:
        if segnet and not _missing(EAGER):
            from enet_ros.benchmark.baseline import write_segnet

            path = Path(folder) / 'segnet_untrained.safetensors'
            write_segnet(path, next(iter(models.values())))
            models[path] = read_model(path)
        yield models


def make_cases(models: dict[Path, ModelFile], backends: Sequence[str], precisions: Sequence[str],
               sizes: Sequence[tuple[int, int]], batches: Sequence[int], seconds: float) -> list[Case]:
    """Return all combinations; ENet's are measured in turns with PyTorch eager, where torch is installed."""
    return [
        Case(path, backend, precision, size, batch, seconds,
             peer=backend != EAGER and models[path].info.architecture.network == 'enet' and not _missing(EAGER))
        for path, backend, batch in product(models, backends, batches)
        for precision in ((eager_precision(),) if backend == EAGER else precisions)
        for size in sizes
    ]


def measure_all(cases: Sequence[Case]) -> Results:
    """Measure `cases`, with a progress bar; an interrupt ends it with what is measured by then.

    Raises:
        EnetError: none can be measured.

    """
    results = Results()
    with tqdm(cases, unit='case', leave=False) as progress:
        for case in progress:
            progress.set_description(f'{case.model.stem} {case.backend} {case.precision} {case.size[0]}x{case.size[1]}')
            try:
                results.rows.append(measure(case))
            except OutOfMemoryError:
                results.out_of_memory.append(case)
            except NotMeasurableError as error:
                results.left_out[case] = str(error)
            except KeyboardInterrupt:
                if not results.rows:
                    raise
                results.interrupted = True
                results.left_out |= dict.fromkeys(cases[cases.index(case):], 'interrupted before the end')
                break
    if not results.rows and not results.out_of_memory:
        raise EnetError('nothing could be measured: ' + '; '.join(dict.fromkeys(results.left_out.values())))
    return results


def profile_all(rows: Sequence[Row], models: dict[Path, ModelFile],
                size: tuple[int, int]) -> dict[str, list[tuple[str, int, float]]]:
    """Return the operations, as `profile` tells of them, of all engines of the first of `models` that `rows` measured."""
    path, model = next(iter(models.items()))
    return {
        f'{path.stem}, {row.backend} {row.precision} at {row.width}x{row.height}':
            profile(model, row.backend, row.precision, size)
        for row in rows
        if (row.model, row.width, row.height, row.batch) == (path.stem, *size, 1) and row.backend != EAGER
    }


def floors(rows: Sequence[Row], models: dict[Path, ModelFile]) -> list[Floor]:
    """Return the least time that each of `rows` could have taken on this machine; empty without torch, which measures it."""
    if _missing(EAGER):
        return []
    from enet_ros.benchmark.ceilings import measure_ceilings
    from enet_ros.network.cost import cost
    from enet_ros.network.registry import make_network

    ceilings = {device: measure_ceilings(device) for device in sorted({row.device for row in rows})}
    networks = {path.stem: make_network(model.info.architecture) for path, model in models.items()}
    found = []
    for row in rows:
        ceiling, counted = ceilings[row.device], cost(networks[row.model], row.width, row.height)
        if row.precision in ceiling.flops:  # PyTorch, which measures, convolves in no int8
            found.append(Floor(
                row, 1e3 * row.batch * counted.flops / ceiling.flops[row.precision],
                1e3 * row.batch * counted.traffic * _BYTES[row.precision] / ceiling.bytes,
            ))
    return found


def costs(models: dict[Path, ModelFile]) -> list[CostRow]:
    """Return what Table 3 tells of `models`; empty where torch, which counts, is not installed."""
    if _missing(EAGER):
        return []
    from enet_ros.network.cost import cost
    from enet_ros.network.registry import make_network

    rows = []
    for path, model in models.items():
        architecture = model.info.architecture
        counted = cost(make_network(architecture), 640, 360)
        rows.append(CostRow(path.stem, NETWORK_NAMES[architecture.network], architecture.classes, counted.flops / 1e9,
                            counted.parameters, 2 * counted.parameters / 2**20))
    return rows


def _missing(backend: str) -> list[str]:
    return missing_packages('torch' if backend == EAGER else backend)

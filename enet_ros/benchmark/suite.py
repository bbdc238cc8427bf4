"""Choose the cases and measure them one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from enet_ros.benchmark.case import EAGER, Case, Operation, Row
from enet_ros.benchmark.measure import eager_precision, measure
from enet_ros.benchmark.profile import profile
from enet_ros.benchmark.tables import CostRow, Floor
from enet_ros.engines.base import BACKENDS, PRECISIONS, EngineSpec
from enet_ros.engines.create import missing_packages
from enet_ros.errors import EnetError, EngineError, NotMeasurableError, OutOfMemoryError
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.network.model_file import ModelFile, read_model

BENCHMARK_BACKENDS = (*(backend for backend in BACKENDS if backend != 'auto'), EAGER)
BENCHMARK_PRECISIONS = tuple(precision for precision in PRECISIONS if precision != 'auto')


@dataclass
class Results:
    """The results of all cases."""

    rows: list[Row] = field(default_factory=list)
    out_of_memory: list[Case] = field(default_factory=list)
    interrupted: bool = False
    left_out: dict[Case, str] = field(default_factory=dict)
    """Cases that could not be measured, and why."""


def choose_backends(backends: Sequence[str] | None) -> list[str]:
    """Return the backends to measure: `backends`, or by default all that are installed.

    torch-compile is a default with an NVIDIA GPU only, because it compiles for minutes on a CPU.

    Raises:
        EngineError: one of `backends` is not installed.

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
    """Yield the model files at `paths` and, with `segnet` and where PyTorch is installed, an untrained SegNet.

    Raises:
        EnetError: a file cannot be used, or two files have the same name.

    """
    models = {path: read_model(path) for path in paths}
    stems = [path.stem for path in models]
    if repeated := [stem for stem in stems if stems.count(stem) > 1]:
        raise EnetError(f'two model files are named {repeated[0]}, which is their name in the tables: rename one')
    with TemporaryDirectory(prefix='enet-benchmark-') as folder:
        if segnet and not _missing(EAGER):
            from enet_ros.benchmark.baseline import write_segnet  # imports PyTorch

            path = Path(folder) / 'segnet_untrained.safetensors'
            write_segnet(path, next(iter(models.values())))
            models[path] = read_model(path)
        yield models


def make_cases(models: dict[Path, ModelFile], backends: Sequence[str], precisions: Sequence[str],
               sizes: Sequence[tuple[int, int]], batches: Sequence[int], seconds: float) -> list[Case]:
    """Return all combinations. ENet is measured in turns with PyTorch eager, where PyTorch is installed."""
    return [
        Case(path, EngineSpec(backend, precision, *size, batch), seconds,
             peer=backend != EAGER and models[path].info.architecture.network == 'enet' and not _missing(EAGER))
        for path, backend, batch in product(models, backends, batches)
        for precision in ((eager_precision(),) if backend == EAGER else precisions)
        for size in sizes
    ]


def measure_all(cases: Sequence[Case]) -> Results:
    """Measure `cases` and show a progress bar. After an interrupt, return what was measured before it.

    Raises:
        EnetError: no case can be measured.

    """
    results = Results()
    with tqdm(cases, unit='case', leave=False) as progress:
        for case in progress:
            spec = case.spec
            progress.set_description(f'{case.model.stem} {spec.backend} {spec.precision} {spec.width}x{spec.height}')
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
                results.left_out |= dict.fromkeys(cases[cases.index(case):], 'interrupted')
                break
    if not results.rows and not results.out_of_memory:
        raise EnetError('nothing could be measured: ' + '; '.join(dict.fromkeys(results.left_out.values())))
    return results


def profile_all(rows: Sequence[Row], models: dict[Path, ModelFile], size: tuple[int, int]) -> dict[str, list[Operation]]:
    """Return the operations of every engine that `rows` has for the first of `models`, one image of `size` and no eager."""
    path, model = next(iter(models.items()))
    return {
        f'{path.stem}, {row.backend} {row.precision} at {row.width}x{row.height}':
            profile(model, EngineSpec(row.backend, row.precision, *size))
        for row in rows
        if (row.model, row.width, row.height, row.batch) == (path.stem, *size, 1) and row.backend != EAGER
    }


def floors(rows: Sequence[Row], models: dict[Path, ModelFile]) -> list[Floor]:
    """Return the minimum time of each of `rows` on this machine; empty without PyTorch, which measures the machine."""
    if _missing(EAGER):
        return []
    from enet_ros.benchmark.ceilings import measure_ceilings
    from enet_ros.network.cost import cost
    from enet_ros.network.inference import DTYPES
    from enet_ros.network.registry import make_network

    ceilings = {device: measure_ceilings(device) for device in sorted({row.device for row in rows})}
    networks = {path.stem: make_network(model.info.architecture) for path, model in models.items()}
    found = []
    for row in rows:
        ceiling, counted = ceilings[row.device], cost(networks[row.model], row.width, row.height)
        if row.precision in ceiling.flops:  # PyTorch does not compute convolutions in int8
            found.append(Floor(
                row, 1e3 * row.batch * counted.flops / ceiling.flops[row.precision],
                1e3 * row.batch * counted.traffic * DTYPES[row.precision].itemsize / ceiling.bytes,
            ))
    return found


def costs(models: dict[Path, ModelFile]) -> list[CostRow]:
    """Return the rows of Table 3 for `models`; empty without PyTorch, which counts the operations."""
    if _missing(EAGER):
        return []
    from enet_ros.network.cost import cost
    from enet_ros.network.inference import DTYPES
    from enet_ros.network.registry import make_network

    rows = []
    for path, model in models.items():
        architecture = model.info.architecture
        counted = cost(make_network(architecture), 640, 360)
        rows.append(CostRow(path.stem, architecture.title, architecture.classes, counted.flops / 1e9,
                            counted.parameters, DTYPES['fp16'].itemsize * counted.parameters / 2**20))
    return rows


def _missing(backend: str) -> list[str]:
    return missing_packages('torch' if backend == EAGER else backend)

"""Measure one engine at one size, in a process of its own, together with its peer."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enet_ros.benchmark.power import PowerMeter
from enet_ros.engines.base import Engine, is_lack_of_memory
from enet_ros.engines.create import create_engine
from enet_ros.errors import EnetError, NotMeasurableError, OutOfMemoryError
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import ModelFile, read_model

EAGER = 'torch-eager'
_BLOCK_SECONDS = 0.2
"""Engine and peer take turns of this length, so that both see the machine's good and bad moments alike."""
_FEWEST_RUNS = 3
_PATIENCE = 10
"""How many times as long as asked for those may take; a run that takes longer still is measured once."""


def eager_precision() -> str:
    """Return what PyTorch eager runs in: fp32 on a CPU, and fp16 on an NVIDIA GPU, where nobody would choose fp32."""
    return 'fp16' if has_nvidia_gpu() else 'fp32'


@dataclass(frozen=True)
class Case:
    """What to measure."""

    model: Path
    backend: str
    """One of the engines', or `torch-eager`."""
    precision: str
    size: tuple[int, int]
    """Width and height in pixels."""
    batch: int
    seconds: float
    """How long to measure at the least, without warm-up."""
    peer: bool
    """Whether to measure PyTorch eager in turns with the engine."""


@dataclass(frozen=True)
class Row:
    """A measurement; milliseconds are medians and for the whole batch."""

    model: str
    backend: str
    precision: str
    device: str
    width: int
    height: int
    batch: int
    engine_ms: float
    """The network alone, from bytes to label ids, without copies to and from a GPU."""
    engine_p99_ms: float
    end_to_end_ms: float
    """From an image array to a label array, both in the computer's memory."""
    end_to_end_p99_ms: float
    fps: float
    """Images a second, end to end."""
    peak_memory_mb: float
    """Of the process on a CPU. On a GPU: how much less of the device's memory is free after the first image; on a Jetson,
    whose processor shares it, other programs and file caches move that."""
    runs: int
    """End to end."""
    times_eager: float | None
    """How many times as fast as PyTorch eager, end to end and in turns with it; None if that was not measured."""
    power_w: float | None
    """Mean of the board while it measures end to end, as `board_power` has it; None without such a sensor."""


def measure(case: Case) -> Row:
    """Measure `case` in a new process, whose memory is nothing but its own and whose end hurts nobody.

    Raises:
        OutOfMemoryError: it does not fit.
        NotMeasurableError: the backend, or this hardware, cannot run it.

    """
    if case.backend in ('openvino', 'tensorrt'):  # what these build and cache must not count for the memory of running
        _in_process(_build, case)
    row = _in_process(_measure, case)
    assert row is not None
    return row


def _in_process(work: Callable[[Case], Row | None], case: Case) -> Row | None:
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, case, sender), daemon=True)
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGKILL:  # as the kernel does with what takes too much
            raise OutOfMemoryError('ended by the system, as it does for lack of memory') from None
        raise NotMeasurableError(f'its process ended with code {process.exitcode}') from None
    except KeyboardInterrupt:
        process.kill()
        raise
    finally:
        process.join()
    if isinstance(result, NotMeasurableError):
        raise result
    return result


def _child(work: Callable[[Case], Row | None], case: Case, sender: Connection) -> None:
    try:
        sender.send(work(case))
    except (EnetError, MemoryError, RuntimeError) as error:
        text = ' '.join(str(error).split()) or type(error).__name__
        short = isinstance(error, MemoryError) or is_lack_of_memory(text) or 'too little GPU memory' in text
        sender.send((OutOfMemoryError if short else NotMeasurableError)(text))
    except KeyboardInterrupt:
        pass  # the parent says so


def _build(case: Case) -> None:
    _make(case, read_model(case.model))


def _measure(case: Case) -> Row:
    model = read_model(case.model)
    width, height = case.size
    image = np.stack([draw_scene(number, width, height)[0][..., ::-1] for number in range(case.batch)])
    image = image[0] if case.batch == 1 else image
    free = _free_gpu_memory() if case.backend != 'openvino' else 0
    engine = _make(case, model)
    start = time.perf_counter()
    engine.infer(image)
    once = time.perf_counter() - start
    peak = free - _free_gpu_memory() if engine.device == 'cuda' else _peak_memory()
    turns: dict[str, Callable[[int], list[float]]] = {
        'end to end': lambda runs: _times(engine, image, runs), 'network': engine.network_times,
    }
    if case.peer:
        from enet_ros.benchmark.eager import EagerEngine

        peer = EagerEngine(model, case.size, eager_precision(), case.batch)
        turns['peer'] = lambda runs: _times(peer, image, runs)
    if once < 1:  # what takes longer is warm after once
        for turn in turns.values():
            turn(3)
    times: dict[str, list[float]] = {name: [] for name in turns}
    power = PowerMeter()
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < case.seconds or (
        len(times['end to end']) < _FEWEST_RUNS and spent < _PATIENCE * case.seconds
    ):
        for name, turn in turns.items():
            last = times[name][-1] / 1e3 if times[name] else once
            runs = max(1, round(_BLOCK_SECONDS / last))
            with power if name == 'end to end' else nullcontext():
                times[name] += turn(runs)
    end_to_end, network = np.median(times['end to end']), np.median(times['network'])
    return Row(
        model=case.model.stem, backend=engine.backend, precision=engine.precision, device=engine.device, width=width,
        height=height, batch=case.batch, engine_ms=float(network),
        engine_p99_ms=float(np.percentile(times['network'], 99)), end_to_end_ms=float(end_to_end),
        end_to_end_p99_ms=float(np.percentile(times['end to end'], 99)), fps=float(1e3 * case.batch / end_to_end),
        peak_memory_mb=peak / 2**20, runs=len(times['end to end']),
        times_eager=float(np.median(times['peer']) / end_to_end) if case.peer else None, power_w=power.mean(),
    )


def _free_gpu_memory() -> int:
    """Return the bytes that are free on the GPU, 0 without one."""
    if not has_nvidia_gpu():
        return 0
    import torch

    return torch.cuda.mem_get_info()[0]


def _peak_memory() -> int:
    """Return the most bytes that this process had in memory; getrusage would count those of the one it was started by."""
    status = Path('/proc/self/status').read_text(encoding='ascii')
    return int(status.partition('VmHWM:')[2].split()[0]) * 2**10


def _make(case: Case, model: ModelFile) -> Engine:
    if case.backend == EAGER:
        from enet_ros.benchmark.eager import EagerEngine

        return EagerEngine(model, case.size, case.precision, case.batch)
    return create_engine(model, case.size, case.backend, case.precision, batch=case.batch)


def _times(engine: Engine, image: NDArray[np.uint8], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        engine.infer(image)
        times.append(1e3 * (time.perf_counter() - start))
    return times

"""Measure one case in its own process."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from enet_ros.benchmark.case import EAGER, Case, Row
from enet_ros.benchmark.network_timer import Timer, network_timer, stopwatch
from enet_ros.benchmark.power import PowerMeter
from enet_ros.engines.base import Engine, EngineSpec, is_lack_of_memory
from enet_ros.engines.create import create_engine
from enet_ros.errors import EnetError, NotMeasurableError, OutOfMemoryError, one_line
from enet_ros.hardware import has_nvidia_gpu
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import ModelFile, read_model

_BLOCK_SECONDS = 0.2
"""Engine and peer take turns of this length, so that a slow moment of the machine affects both."""
_FEWEST_RUNS = 3
_PATIENCE = 10
"""The fewest runs may take this many times the requested time. A run that takes even longer is measured once."""


def eager_precision() -> str:
    """Return the precision of PyTorch eager: fp32 on a CPU, fp16 on an NVIDIA GPU, where it is the usual choice."""
    return 'fp16' if has_nvidia_gpu() else 'fp32'


def measure(case: Case) -> Row:
    """Measure `case` in a new process, so that only its memory is counted and a crash does not end the benchmark.

    Raises:
        OutOfMemoryError: there is not enough memory.
        NotMeasurableError: this backend or machine cannot run it.

    """
    if case.spec.backend in ('openvino', 'tensorrt'):  # the memory of building does not count as that of running
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
        if process.exitcode == -signal.SIGKILL:  # what the kernel sends to a process that takes too much memory
            raise OutOfMemoryError('the system ended its process, probably for lack of memory') from None
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
        sender.send((OutOfMemoryError if is_out_of_memory(error) else NotMeasurableError)(one_line(error)))
    except KeyboardInterrupt:
        pass  # the parent reports it


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether `error`, or one that caused it, reports too little memory. An engine raises its own error from it."""
    while error is not None:
        if isinstance(error, MemoryError) or is_lack_of_memory(str(error)):
            return True
        error = error.__cause__
    return False


def _build(case: Case) -> None:
    _make(case, read_model(case.model))


def _measure(case: Case) -> Row:
    model, spec = read_model(case.model), case.spec
    images = np.stack([draw_scene(number, *spec.size)[0][..., ::-1] for number in range(spec.batch)])
    free = _free_gpu_memory() if spec.backend != 'openvino' else 0
    engine = _make(case, model)
    start = time.perf_counter()
    engine.infer(images)
    once = time.perf_counter() - start
    peak = free - _free_gpu_memory() if engine.device == 'cuda' else _peak_memory()
    timers = {'end to end': stopwatch(partial(engine.infer, images)), 'network': network_timer(engine, images)}
    if case.peer:
        timers['peer'] = stopwatch(partial(_make_eager(model, replace(spec, precision=eager_precision())).infer, images))
    times, power_w = _take_turns(timers, once, case.seconds)
    end_to_end, network = np.median(times['end to end']), np.median(times['network'])
    return Row(
        model=case.model.stem, backend=engine.spec.backend, precision=engine.spec.precision, device=engine.device,
        width=spec.width, height=spec.height, batch=spec.batch, engine_ms=float(network),
        engine_p99_ms=float(np.percentile(times['network'], 99)), end_to_end_ms=float(end_to_end),
        end_to_end_p99_ms=float(np.percentile(times['end to end'], 99)), fps=float(1e3 * spec.batch / end_to_end),
        peak_memory_mb=peak / 2**20, runs=len(times['end to end']),
        times_eager=float(np.median(times['peer']) / end_to_end) if case.peer else None, power_w=power_w,
    )


def _take_turns(timers: dict[str, Timer], once: float, seconds: float) -> tuple[dict[str, list[float]], float | None]:
    """Return the milliseconds of each run by timer, and the mean power in watts during the end-to-end runs, if known.

    `once` is the duration of the first run in seconds, which decides the warm-up and the length of the first turns.
    """
    if once < 1:  # a longer run is warm after the first one
        for timer in timers.values():
            timer(3)
    times: dict[str, list[float]] = {name: [] for name in timers}
    power = PowerMeter()
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or (
        len(times['end to end']) < _FEWEST_RUNS and spent < _PATIENCE * seconds
    ):
        for name, timer in timers.items():
            last = times[name][-1] / 1e3 if times[name] else once
            with power if name == 'end to end' else nullcontext():
                times[name] += timer(max(1, round(_BLOCK_SECONDS / last)))
    return times, power.mean()


def _free_gpu_memory() -> int:
    """Return the number of free bytes on the GPU, 0 without one."""
    if not has_nvidia_gpu():
        return 0
    import torch  # optional, and large: OpenVINO is measured without it

    return torch.cuda.mem_get_info()[0]


def _peak_memory() -> int:
    """Return the peak memory of this process in bytes. Not by getrusage, which counts that of the parent process, too."""
    status = Path('/proc/self/status').read_text(encoding='ascii')
    return int(status.partition('VmHWM:')[2].split()[0]) * 2**10


def _make(case: Case, model: ModelFile) -> Engine:
    return _make_eager(model, case.spec) if case.spec.backend == EAGER else create_engine(model, case.spec)


def _make_eager(model: ModelFile, spec: EngineSpec) -> Engine:
    from enet_ros.benchmark.eager import EagerEngine  # imports PyTorch

    return EagerEngine(model, spec)

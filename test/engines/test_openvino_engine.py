"""The life of OpenVINO engines, each test in its own process: what fails here ends or blocks a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import ctypes, gc, os, signal, sys, threading
from pathlib import Path
import numpy as np
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model

class AlternateStack(ctypes.Structure):
    _fields_ = [('address', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]

def alternate_stack():
    stack = AlternateStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address, stack.flags, stack.size

model = read_model(Path(sys.argv[1]))
image = np.ascontiguousarray(draw_scene(3, 240, 184)[0][..., ::-1])[None]

def make(precision='fp32', **options):
    return create_engine(model, EngineSpec('openvino', precision, 240, 184), **options)
"""


def _run(script: str, model: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', PRELUDE + script, str(model)], capture_output=True, text=True, timeout=60,
        env={**os.environ, 'ENET_CACHE': str(cache)},
    )


@pytest.mark.parametrize('precision', ['int8', 'auto'])
def test_a_signal_is_handled_after_engines_are_released_in_the_order_they_were_made(
    precision: str, shipped_model: Path, int8_cache: Path
) -> None:
    done = _run(f"""
before = alternate_stack()
first, second = make({precision!r}), make({precision!r})
first.infer(image)
labels = second.infer(image).labels
del first
del second
assert alternate_stack() == before
del labels  # the caller may keep them longer than the engine
assert alternate_stack() == before
signal.signal(signal.SIGTERM, lambda *_: print('handled'))
os.kill(os.getpid(), signal.SIGTERM)
print('alive')
""", shipped_model, int8_cache)
    assert (done.returncode, done.stdout) == (0, 'handled\nalive\n'), done.stderr


def test_engines_are_released_by_garbage_collection_on_any_thread(shipped_model: Path, tmp_path: Path) -> None:
    done = _run("""
from enet_ros.engines.openvino_engine import _OWNER

def make_garbage():
    engine = make()
    engine.myself = engine

for collect in (gc.collect, lambda: _OWNER.call(gc.collect)):
    make_garbage()
    collect()
other = threading.Thread(target=gc.collect)
make_garbage()
other.start()
other.join()
print(make().infer(image).labels.shape)
""", shipped_model, tmp_path)
    assert (done.returncode, done.stdout) == (0, '(1, 184, 240)\n'), done.stderr


@pytest.mark.parametrize('end', ['pass', 'sys.exit(0)', 'engine.myself = engine', 'import atexit; atexit.register(make)'])
def test_a_process_ends_that_still_has_engines(end: str, shipped_model: Path, tmp_path: Path) -> None:
    done = _run(f"""
engine, another = make(), make()
engine.infer(image)
print('made')
{end}
""", shipped_model, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'made\n', '')


def test_an_engine_whose_creation_fails_leaves_nothing_behind(shipped_model: Path, tmp_path: Path) -> None:
    done = _run("""
from enet_ros.engines.openvino_engine import OpenVinoEngine
from enet_ros.errors import EngineError
before = alternate_stack()
kept = []
try:
    OpenVinoEngine(model, EngineSpec('openvino', 'fp32', 10**7, 10**7))  # more than any memory
except RuntimeError as error:
    kept.append(error)
assert kept and alternate_stack() == before
print(make().infer(image).labels.shape)
""", shipped_model, tmp_path)
    assert (done.returncode, done.stdout) == (0, '(1, 184, 240)\n'), done.stderr


def test_creation_that_is_interrupted_neither_blocks_nor_crashes(shipped_model: Path, tmp_path: Path) -> None:
    done = _run("""
make()  # imports OpenVINO, which cannot be repeated after an interruption
before = alternate_stack()
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupted = 0
for milliseconds in (1, 2, 5, 10, 20, 40, 80, 120, 160, 240):  # at any point of the creation
    try:
        signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
        engine = make()
        signal.setitimer(signal.ITIMER_REAL, 0)
        del engine
    except KeyboardInterrupt:
        interrupted += 1
gc.collect()
assert interrupted and alternate_stack() == before
signal.signal(signal.SIGTERM, lambda *_: print('handled'))
os.kill(os.getpid(), signal.SIGTERM)
print(make().infer(image).labels.shape)
""", shipped_model, tmp_path)
    assert (done.returncode, done.stdout) == (0, 'handled\n(1, 184, 240)\n'), done.stderr


def test_the_threads_that_compute_may_use_any_core(shipped_model: Path, tmp_path: Path) -> None:
    # otherwise two processes, each with one thread, would share the first core
    done = _run("""
stop = threading.Event()
seen = set()

def watch():
    while not stop.wait(0.001):
        for thread in os.listdir('/proc/self/task'):
            seen.add(frozenset(os.sched_getaffinity(int(thread))))

engines = [create_engine(model, EngineSpec('openvino', 'fp32', 240, 184, threads=threads)) for threads in (0, 1)]
for engine in engines:
    engine.infer(image)  # the first run starts threads
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(20):
    for engine in engines:
        engine.infer(image)
stop.set()
watcher.join()
assert seen == {frozenset(os.sched_getaffinity(0))}, seen
""", shipped_model, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_forked_process_can_make_engines(shipped_model: Path, tmp_path: Path) -> None:
    done = _run("""
make().infer(image)
child = os.fork()
if not child:
    print(make().infer(image).labels.shape, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""", shipped_model, tmp_path)
    assert (done.returncode, done.stdout) == (0, '(1, 184, 240)\n'), done.stderr

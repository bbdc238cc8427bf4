"""Building an engine: progress, interrupts, options and the timing cache. Nothing is run."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from enet_ros.engines.base import BuildOptions, EngineSpec
from enet_ros.errors import EngineError
from enet_ros.network.model_file import read_model

SPEC = EngineSpec('tensorrt', 'fp32', 96, 64)

pytestmark = [
    pytest.mark.usefixtures('tensorrt_stand_in'),
    pytest.mark.filterwarnings('ignore:.*Timing cache operations are no-ops:DeprecationWarning'),
]


def test_a_build_logs_its_progress_and_its_time(shipped_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'enet_ros')
    build = import_module('enet_ros.engines.tensorrt.build').build
    spec = dataclasses.replace(SPEC, precision='fp16')
    engine = build(read_model(shipped_model), spec, progress_interval=0)  # it takes only seconds
    assert isinstance(engine, bytes) and engine
    assert re.search(r'building: .+, step \d+ of \d+', caplog.text)
    assert 'building for TensorRT' in caplog.text and '96x64 in fp16' in caplog.text and 'built in' in caplog.text


class Config:
    """A builder's configuration whose timing cache is real bytes: that of tensorrt-rtx does nothing."""

    def __init__(self, measures: bytes, *, accepts: bool = True) -> None:
        self.given = b''
        self._measures, self._accepts = measures, accepts

    def create_timing_cache(self, known: bytes) -> bytes | None:
        return None if known and self._measures == b'unreadable' else known

    def set_timing_cache(self, known: bytes, _: bool) -> bool:
        if known is None:
            raise TypeError('incompatible function arguments')  # as TensorRT
        if known and not self._accepts:
            return False
        self.given = known
        return True

    def get_timing_cache(self) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: self.given + self._measures)


def test_what_a_build_measures_is_given_to_the_next_one_on_the_same_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    timing_cache = import_module('enet_ros.engines.tensorrt.timing').timing_cache

    def build(measures: bytes, device: str = 'Orin', **options: bool) -> bytes:
        config = Config(measures, **options)
        with timing_cache(config, device):
            return config.given

    assert [build(b'a'), build(b'b'), build(b''), build(b'', 'H200')] == [b'', b'a', b'ab', b'']
    assert build(b'c', accepts=False) == b'' and build(b'') == b'c'
    with pytest.raises(RuntimeError), timing_cache(Config(b'd'), 'Orin'):
        raise RuntimeError('the build fails')
    assert build(b'') == b'cd' and not caplog.messages
    assert build(b'unreadable') == b'' and build(b'') == b'unreadable'
    monkeypatch.setenv('ENET_CACHE', str(Path(__file__)))  # not a folder
    assert build(b'a') == b''
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 'not cached' in line


def test_the_options_reach_the_builder(shipped_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt as trt

    configs = []

    class Builder(trt.Builder):
        def build_serialized_network(self, network: object, config: trt.IBuilderConfig) -> None:
            configs.append((config.builder_optimization_level,
                            config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)))

    monkeypatch.setattr(trt, 'Builder', Builder)
    build = import_module('enet_ros.engines.tensorrt.build').build
    for options in (None, BuildOptions(workspace=256, optimization_level=1)):
        with pytest.raises(EngineError, match='cannot build'):
            build(read_model(shipped_model), SPEC, None, options)
    assert configs == [(3, 1 << 30), (1, 256 << 20)]


def test_sigint_stops_a_build_and_is_raised(shipped_model: Path) -> None:
    # in its own process: rclpy, which other tests import, has a signal handler
    script = f"""
import logging, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
import tensorrt_rtx
sys.modules['tensorrt'] = tensorrt_rtx
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.tensorrt.build import build
from enet_ros.network.model_file import read_model

class InterruptAtFirstProgress(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith('building: '):
            log.removeHandler(self)
            os.kill(os.getpid(), signal.SIGINT)

log = logging.getLogger('enet_ros')
log.setLevel(logging.INFO)
log.addHandler(InterruptAtFirstProgress())
try:
    build(read_model(Path({str(shipped_model)!r})), EngineSpec('tensorrt', 'fp16', 96, 64), progress_interval=0)
except KeyboardInterrupt:
    print('interrupted', signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout == 'interrupted True\n', done.stderr


def test_a_build_in_a_node_leaves_sigint_to_the_node(shipped_model: Path) -> None:
    pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it')
    script = f"""
import os, signal, sys
import tensorrt_rtx
sys.modules['tensorrt'] = tensorrt_rtx
from pathlib import Path
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.tensorrt.build import build
from enet_ros.network.model_file import read_model
from enet_ros.ros.stop_signals import StopSignals

signals = StopSignals()
build(read_model(Path({str(shipped_model)!r})), EngineSpec('tensorrt', 'fp16', 96, 64))
os.kill(os.getpid(), signal.SIGINT)
print(signals.received)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout == 'True\n', done.stderr


def test_a_profile_has_the_mean_time_of_each_layer() -> None:
    runner_module = import_module('enet_ros.engines.tensorrt.runner')

    class Context:
        """Reports two layers at each run, as TensorRT does while it has a profiler."""

        profiler = None

        def set_tensor_address(self, *_: object) -> None: ...

        def execute_async_v3(self, _: int) -> bool:
            if self.profiler:
                for layer, milliseconds in (('first', 0.25), ('second', 1.0)):
                    self.profiler.report_layer_time(layer, milliseconds)
            return True

    runner = object.__new__(runner_module.Runner)
    runner._context = Context()
    assert runner.profile([0, 0], 0, runs=4) == {'first': 0.25, 'second': 1.0}

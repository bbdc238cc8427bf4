"""Measure the segmentation node as its own process: latency, drops, CPU and memory, against the time of its engine.

This process publishes the images and receives the labels. Its own share in the latency is that of a camera driver and of a
subscriber in rclpy.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from enet_ros.engines.base import BACKENDS, PRECISIONS
from enet_ros.errors import EnetError
from enet_ros.files import write_json
from enet_ros.images.channels import to_rgb
from enet_ros.images.files import read_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.resources import default_model
from enet_ros.ros.client import spinning
from enet_ros.ros.messages import to_message
from enet_ros.ros.parameters import TRANSPORTS
from enet_ros.ros.statistics import STAGES

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 20
WARM_UP = 2.0
"""Seconds of images before the measurement."""
_TICKS = os.sysconf('SC_CLK_TCK')


def read_images(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return images of `size` (width, height) as H x W x 3, uint8, BGR: of CamVid if it is found, else drawn ones."""
    for folder in (os.environ.get('ENET_DATA'), str(ROOT.parent / 'shared' / 'camvid')):
        if folder and Path(folder, 'val').is_dir():
            paths = sorted(Path(folder, 'val').glob('*.png'))[:IMAGES]
            return [cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA) for path in paths]
    return [draw_scene(number, *size)[0] for number in range(IMAGES)]


@dataclass
class Record:
    """What one camera sent and received."""

    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    """Seconds from the publishing of an image to the arrival of its labels."""


class Bench(Node):
    """Publishes images as several cameras do and receives their labels."""

    def __init__(
        self, names: Sequence[str], images: Sequence[NDArray[np.uint8]], transport: str, *, subscribe: bool
    ) -> None:
        """Create the topics of the cameras `names`; '' is the only camera of a node."""
        super().__init__('enet_bench')
        self.records = {name: Record() for name in names}
        self.stages: dict[str, dict[str, str]] = {}
        self._names = names
        queue = QoSProfile(depth=5)
        kind, suffix = (CompressedImage, '/compressed') if transport == 'compressed' else (Image, '')
        self._camera_publishers = {
            name: self.create_publisher(kind, f'{_prefix(name)}image{suffix}', queue) for name in names
        }
        self._label_subscriptions = [
            self.create_subscription(Image, f'/enet/{_prefix(name)}labels', partial(self._on_labels, name), queue)
            for name in names if subscribe
        ]
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 1)
        self._messages = [_to_jpeg(image) if transport == 'compressed' else _to_raw(image) for image in images]
        self._sent: dict[tuple[str, int, int], float] = {}
        self._answered = Counter[str]()

    def wait_for_node(self, process: subprocess.Popen[bytes], timeout: float = 120) -> None:
        """Publish until the labels of every camera arrive, or until the node subscribes if this process does not.

        Raises:
            EnetError: they do not within `timeout` seconds, or the node stops.

        """
        deadline = time.monotonic() + timeout
        while True:
            connected = all(publisher.get_subscription_count() for publisher in self._camera_publishers.values())
            if connected and (not self._label_subscriptions or len(self._answered) == len(self._names)):
                return
            if process.poll() is not None:
                raise EnetError(f'the node stopped with exit code {process.returncode}: see its messages above')
            if time.monotonic() > deadline:
                raise EnetError(f'the node does not answer within {timeout:.0f} s: see its messages above')
            for name in self._names:
                self._publish(name, 0)
            time.sleep(0.2)

    def play(self, seconds: float, rate: float) -> None:
        """Publish images for `seconds` at `rate` Hz, evenly spread over the cameras."""
        start = time.monotonic()
        for number in range(round(seconds * rate)):
            for place, name in enumerate(self._names):
                due = start + (number + place / len(self._names)) / rate
                time.sleep(max(0.0, due - time.monotonic()))
                self._publish(name, number)
        time.sleep(max(0.0, start + seconds - time.monotonic()))

    def reset(self) -> None:
        """Forget what was measured."""
        self.records = {name: Record() for name in self._names}

    def _publish(self, name: str, number: int) -> None:
        message = self._messages[number % len(self._messages)]
        message.header.stamp = stamp = self.get_clock().now().to_msg()
        self.records[name].sent += 1
        self._sent[name, stamp.sec, stamp.nanosec] = time.monotonic()
        self._camera_publishers[name].publish(message)

    def _on_labels(self, name: str, message: Image) -> None:
        now, stamp = time.monotonic(), message.header.stamp
        self._answered[name] += 1
        if (sent := self._sent.pop((name, stamp.sec, stamp.nanosec), None)) is not None:
            self.records[name].latencies.append(now - sent)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            stages = {pair.key: pair.value for pair in status.values if 'p50' in pair.key or 'p99' in pair.key}
            if stages:
                self.stages[status.name] = stages


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:  # noqa: ANN401 - those of Popen
    """Run a process for the duration of the block."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _keep_freed_memory() -> None:
    """Let glibc keep freed images: page faults of this process would be part of the latency. Source: mallopt(3)."""
    library = ctypes.CDLL(None)
    with suppress(AttributeError):  # the C library is not glibc
        library.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        library.mallopt(-1, 128 * 2**20)  # M_TRIM_THRESHOLD


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> dict[str, float]:
    """Return the resident memory of a process in MB, now and at most."""
    fields = dict(line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())
    return {'now': int(fields['VmRSS'].split()[0]) / 1024, 'peak': int(fields['VmHWM'].split()[0]) / 1024}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run node and engine and return the figures."""
    names = [f'c{number}' for number in range(arguments.cameras)] if arguments.cameras > 1 else ['']
    parameters = {
        'model': arguments.model,
        'backend': arguments.backend, 'precision': arguments.precision, 'threads': arguments.threads,
        'width': arguments.network[0], 'height': arguments.network[1], 'image_transport': arguments.transport,
    }
    command = [sys.executable, str(ROOT / 'scripts' / 'timed_node.py'), '--ros-args']
    settings = [f'{name}:={value}' for name, value in parameters.items()]
    if arguments.cameras > 1:
        settings.append(f"cameras:='{', '.join(names)}'")
    for setting in (*settings, *arguments.p):
        command += ['-p', setting]
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        times = work / 'engine.txt'
        times.touch()
        for _ in range(arguments.busy):
            stack.enter_context(running([sys.executable, '-c', 'while True: pass']))
        node = stack.enter_context(running(
            command, env={**os.environ, 'ROS_LOG_DIR': str(work), 'ENGINE_TIMES': str(times)}
        ))
        bench = Bench(names, read_images(arguments.size), arguments.transport, subscribe=not arguments.no_subscriber)
        stack.callback(bench.destroy_node)
        stack.enter_context(spinning(bench))
        bench.wait_for_node(node)
        bench.play(WARM_UP, arguments.rate)
        bench.reset()
        start, used = time.monotonic(), cpu_seconds(node.pid)
        bench.play(arguments.seconds, arguments.rate)
        elapsed, used = time.monotonic() - start, cpu_seconds(node.pid) - used
        time.sleep(0.5)  # for the last labels
        memory = memory_mb(node.pid)
        runs = [tuple(map(float, line.split())) for line in times.read_text().splitlines()]
    latencies = [latency for record in bench.records.values() for latency in record.latencies]
    end_to_end, engine = _percentiles(latencies), _percentiles([seconds for begin, seconds in runs if begin >= start])
    return {
        'size': '{}x{}'.format(*arguments.size), 'rate': arguments.rate, 'transport': arguments.transport,
        'busy': arguments.busy, 'backend': arguments.backend, 'precision': arguments.precision, 'threads': arguments.threads,
        'network': '{}x{}'.format(*arguments.network), 'parameters': arguments.p, 'subscribed': not arguments.no_subscriber,
        'end_to_end_ms': end_to_end, 'engine_ms': engine,
        'outside_engine_ms': end_to_end['p50'] - engine['p50'] if end_to_end and engine else None,
        'stages_ms': bench.stages,
        'cameras': {
            name or 'image': {
                'sent': record.sent, 'answered': len(record.latencies), 'fps': len(record.latencies) / elapsed,
                'latency_ms': _percentiles(record.latencies),
            }
            for name, record in bench.records.items()
        },
        'cpu': used / elapsed, 'memory_mb': memory,
    }


def print_report(report: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f'images        {report["size"]} at {report["rate"]:g} Hz, {report["transport"]}; '
          f'{report["busy"]} busy processes')
    for title, key in (('end to end', 'end_to_end_ms'), ('engine', 'engine_ms')):
        percentiles = ', '.join(f'{name} {value:.2f} ms' for name, value in report[key].items())
        print(f'{title:13} {percentiles or "none"}')
    if report['outside_engine_ms'] is not None:
        print(f'difference    p50 {report["outside_engine_ms"]:.2f} ms')
    for name, stages in report['stages_ms'].items():
        for stage in STAGES:
            p50, p99 = (stages[f'latency {stage} {percentile} (ms)'] for percentile in ('p50', 'p99'))
            if p50:
                print(f'{name} {stage:7} p50 {p50} ms, p99 {p99} ms')
    for name, camera in report['cameras'].items():
        print(f'{name:13} {camera["sent"]} images sent, {camera["answered"]} labels, {camera["fps"]:.1f} fps'
              + (f', p50 {camera["latency_ms"]["p50"]:.1f} ms' if camera['latency_ms'] else ''))
    print(f'node          {report["cpu"]:.3f} CPU seconds per second, '
          f'{report["memory_mb"]["now"]:.0f} MB resident, {report["memory_mb"]["peak"]:.0f} MB at most')


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles in milliseconds; empty for no values."""
    return {f'p{q}': float(np.percentile(seconds, q) * 1e3) for q in (50, 90, 99)} if seconds else {}


def _prefix(camera: str) -> str:
    return f'{camera}/' if camera else ''


def _to_raw(image: NDArray[np.uint8]) -> Image:
    return to_message(to_rgb(image, 'bgr'), 'rgb8', Header())


def _to_jpeg(image: NDArray[np.uint8]) -> CompressedImage:
    message = CompressedImage(format='bgr8; jpeg compressed bgr8')
    message.data.frombytes(cv2.imencode('.jpg', image)[1].data)
    return message


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split('x'))
    return width, height


def main() -> int:
    """Read the arguments, measure and print. Return 1 for an error."""
    parser = argparse.ArgumentParser(prog='scripts/bench_node.sh', description=__doc__)
    parser.add_argument('--size', type=_size, default=(640, 360), metavar='WxH',
                        help='size of the images (default: 640x360)')
    parser.add_argument('--rate', type=float, default=10, metavar='HZ', help='images per second and camera (default: 10)')
    parser.add_argument('--seconds', type=float, default=15, help='seconds of images, without the warm-up (default: 15)')
    parser.add_argument('--transport', choices=TRANSPORTS, default='raw', help='image transport (default: raw)')
    parser.add_argument('--cameras', type=int, default=1, metavar='N', help='number of cameras (default: 1)')
    parser.add_argument('--busy', type=int, default=0, metavar='N', help='busy processes beside the node (default: 0)')
    parser.add_argument('--no-subscriber', action='store_true',
                        help='do not subscribe to the labels: measures CPU and memory')
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE', help='model file')
    parser.add_argument('--backend', choices=BACKENDS, default='auto', help='parameter of the node')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='parameter of the node')
    parser.add_argument('--threads', type=int, default=0, help='parameter of the node')
    parser.add_argument('--network', type=_size, default=(0, 0), metavar='WxH',
                        help='size of the network: parameters width and height')
    parser.add_argument('-p', action='append', default=[], metavar='NAME:=VALUE', help='another parameter of the node')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to this file')
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _keep_freed_memory()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        report = measure(arguments)
        if arguments.json is not None:
            write_json(arguments.json, report)
    except EnetError as error:
        print(f'bench_node: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    print_report(report)
    return 0


if __name__ == '__main__':
    sys.exit(main())

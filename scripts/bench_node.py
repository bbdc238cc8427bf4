"""Measure the segmentation node as its own process: latency by stage, drops, CPU and memory.

This process publishes the images and receives the labels. Its own share in the latency is that of a camera driver and of a
subscriber in rclpy. The stages of an image are:

  send      publish the image .. callback of the node
  wait      .. the worker takes it
  prepare   .. the engine starts: read the message, resize, inspect
  engine    .. the engine ends
  publish   .. published: labels of the output size, message, DDS
  receive   .. callback of the subscriber

The figures "outside" are the sums without the engine, per image: to the published labels, and to the received ones.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from bench_robot import Key, Robot, labels_topic, other_subscriber, read_images
from numpy.typing import NDArray
from rclpy.signals import SignalHandlerOptions

from enet_ros.engines.base import BACKENDS, PRECISIONS
from enet_ros.errors import EnetError
from enet_ros.files import write_json
from enet_ros.parsing import parse_yaml
from enet_ros.resources import default_model
from enet_ros.ros.client import spinning
from enet_ros.ros.node_process import running_node
from enet_ros.ros.parameters import TRANSPORTS

STAGES = ('send', 'wait', 'prepare', 'engine', 'publish', 'receive')
WARM_UP = 2.0
"""Seconds of images before the measurement."""


def _keep_freed_memory() -> None:
    """Let glibc keep freed images: page faults of this process would be part of the latency. Source: mallopt(3)."""
    library = ctypes.CDLL(None)
    with suppress(AttributeError):  # the C library is not glibc
        library.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        library.mallopt(-1, 128 * 2**20)  # M_TRIM_THRESHOLD


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the node and return the figures."""
    names = [f'c{number}' for number in range(arguments.cameras)] if arguments.cameras > 1 else ['']
    parameters = {
        'model': arguments.model,
        'backend': arguments.backend, 'precision': arguments.precision, 'threads': arguments.threads,
        'width': arguments.network[0], 'height': arguments.network[1], 'image_transport': arguments.transport,
    }
    if arguments.cameras > 1:
        parameters['cameras'] = ', '.join(names)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        times = work / 'times.jsonl'
        times.touch()
        for _ in range(arguments.busy):
            busy = stack.enter_context(subprocess.Popen([sys.executable, '-c', 'while True: pass']))
            stack.callback(busy.kill)
        node = stack.enter_context(running_node(
            {**parameters, **dict(arguments.p)}, log_folder=work, environment={'IMAGE_TIMES': str(times)},
            program=[str(Path(__file__).with_name('timed_node.py'))],
        ))
        robot = Robot(names, read_images(arguments.size), arguments.transport, subscribe=not arguments.no_subscriber)
        stack.callback(robot.destroy_node)
        stack.enter_context(spinning(robot))
        if arguments.stopped_subscriber:
            pid, connected = stack.enter_context(other_subscriber([labels_topic(name) for name in names]))
            robot.wait_for_node(node.check, connected.is_set)
            os.kill(pid, signal.SIGSTOP)
        robot.wait_for_node(node.check)
        robot.play(WARM_UP, arguments.rate)
        robot.sent.clear()
        memory = {'start': node.memory_mb()['now']}
        start, used = time.monotonic(), node.cpu_seconds()
        robot.play(arguments.seconds, arguments.rate)
        elapsed, used = time.monotonic() - start, node.cpu_seconds() - used
        time.sleep(0.5)  # for the last labels
        node.check()
        memory |= node.memory_mb()
        stages = image_stages(times.read_text(), robot.sent, robot.received)
    answered = [key for key in robot.sent if key in robot.received]
    return {
        'size': '{}x{}'.format(*arguments.size), 'rate': arguments.rate, 'transport': arguments.transport,
        'busy': arguments.busy, 'backend': arguments.backend, 'precision': arguments.precision, 'threads': arguments.threads,
        'network': '{}x{}'.format(*arguments.network), 'parameters': dict(arguments.p),
        'subscribed': not arguments.no_subscriber, 'stopped_subscriber': arguments.stopped_subscriber,
        'stages_ms': {stage: _percentiles(stages[:, column]) for column, stage in enumerate(STAGES)},
        'outside_to_published_ms': _percentiles(stages[:, [0, 1, 2, 4]].sum(axis=1)),
        'outside_to_received_ms': _percentiles(stages[:, [0, 1, 2, 4, 5]].sum(axis=1)),
        'end_to_end_ms': _percentiles(stages.sum(axis=1)),
        'cameras': {
            name or 'image': {
                'sent': sum(key[0] == name for key in robot.sent), 'answered': sum(key[0] == name for key in answered),
                'fps': sum(key[0] == name for key in answered) / elapsed,
                'latency_ms': _percentiles([robot.received[key] - robot.sent[key] for key in answered if key[0] == name]),
            }
            for name in names
        },
        'cpu': used / elapsed, 'memory_mb': memory,
    }


def image_stages(times: str, sent: dict[Key, float], received: dict[Key, float]) -> NDArray[np.float64]:
    """Return the seconds of each of `STAGES` for the images that were sent and answered: N x 6.

    Args:
        times: What timed_node.py has written.
        sent: When each image was sent.
        received: When the labels of each image arrived.

    """
    moments = [
        (sent[key], *rest, received[key]) for name, seconds, nanoseconds, *rest in map(json.loads, times.splitlines())
        if (key := (name, seconds, nanoseconds)) in sent and key in received
    ]
    return np.diff(np.array(moments, float).reshape(-1, len(STAGES) + 1), axis=1)


def print_report(report: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f'images      {report["size"]} at {report["rate"]:g} Hz, {report["transport"]}; {report["busy"]} busy processes')
    for title, figures in (
        *report['stages_ms'].items(), ('outside, to published', report['outside_to_published_ms']),
        ('outside, to received', report['outside_to_received_ms']), ('end to end', report['end_to_end_ms']),
    ):
        print(f'{title:21} ' + (', '.join(f'{name} {value:.2f} ms' for name, value in figures.items()) or 'none'))
    for name, camera in report['cameras'].items():
        print(f'{name:11} {camera["sent"]} images sent, {camera["answered"]} labels, {camera["fps"]:.1f} fps'
              + (f', p50 {camera["latency_ms"]["p50"]:.1f} ms' if camera['latency_ms'] else ''))
    print(f'node        {report["cpu"]:.3f} CPU seconds per second, '
          f'{report["memory_mb"]["start"]:.0f} MB resident after the warm-up, '
          f'{report["memory_mb"]["now"]:.0f} MB at the end, {report["memory_mb"]["peak"]:.0f} MB at most')


def _percentiles(seconds: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Return percentiles in milliseconds; empty for no values."""
    return {f'p{q}': float(np.percentile(seconds, q) * 1e3) for q in (50, 90, 99)} if len(seconds) else {}


def _parameter(text: str) -> tuple[str, object]:
    name, separator, value = text.partition(':=')
    if not (name and separator):
        raise argparse.ArgumentTypeError(f'{text} is not a parameter; use NAME:=VALUE')
    return name, parse_yaml(value)


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split('x'))
    return width, height


def main() -> int:
    """Read the arguments, measure and print. Return 1 for an error."""
    parser = argparse.ArgumentParser(
        prog='scripts/bench_node.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', type=_size, default=(640, 360), metavar='WxH',
                        help='size of the images (default: 640x360)')
    parser.add_argument('--rate', type=float, default=10, metavar='HZ', help='images per second and camera (default: 10)')
    parser.add_argument('--seconds', type=float, default=15, help='seconds of images, without the warm-up (default: 15)')
    parser.add_argument('--transport', choices=TRANSPORTS, default='raw', help='image transport (default: raw)')
    parser.add_argument('--cameras', type=int, default=1, metavar='N', help='number of cameras (default: 1)')
    parser.add_argument('--busy', type=int, default=0, metavar='N', help='busy processes beside the node (default: 0)')
    parser.add_argument('--no-subscriber', action='store_true',
                        help='do not subscribe to the labels: measures CPU and memory')
    parser.add_argument('--stopped-subscriber', action='store_true',
                        help='add a subscriber of the labels that is stopped (SIGSTOP) once it is connected')
    parser.add_argument('--model', type=Path, default=default_model(), metavar='FILE', help='model file')
    parser.add_argument('--backend', choices=BACKENDS, default='auto', help='parameter of the node')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='parameter of the node')
    parser.add_argument('--threads', type=int, default=0, help='parameter of the node')
    parser.add_argument('--network', type=_size, default=(0, 0), metavar='WxH',
                        help='size of the network: parameters width and height')
    parser.add_argument('-p', action='append', default=[], type=_parameter, metavar='NAME:=VALUE',
                        help='another parameter of the node')
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

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from itertools import count, product
from string import ascii_lowercase

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from std_msgs.msg import Header

from enet_ros.errors import ImageMessageError, quoted
from enet_ros.images.messages import ImageReader
from enet_ros.ros.log import LogThrottle, forward_log
from enet_ros.ros.messages import to_message


class RosLogger:
    """Records what a node's logger would print."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def package_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger('enet_ros')
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers, logger.level = handlers, level


def test_the_package_log_goes_to_the_logger_of_the_latest_node_with_its_levels(package_logger: logging.Logger) -> None:
    first, second = RosLogger(), RosLogger()
    forward_log(first)
    forward_log(second)
    log = package_logger.getChild('engines.cache')
    log.info('building for %s', 'Orin')
    log.warning('not cached')
    log.error('broken')
    log.debug('details')
    assert second.lines == [('info', 'building for Orin'), ('warning', 'not cached'), ('error', 'broken')]
    assert not first.lines


def test_a_real_ros_logger_accepts_all_levels(
    package_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    import rclpy.logging

    forward_log(rclpy.logging.get_logger('enet'))
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        package_logger.getChild('engines.base').log(level, 'level %d', level)
    error = capfd.readouterr().err
    assert all(f'level {level}' in error for level in (20, 30, 40))


def test_the_same_kind_of_error_is_logged_once_per_interval() -> None:
    lines: list[str] = []
    clock = Clock()
    throttle = LogThrottle(lines.append, interval=5.0, clock=clock)
    throttle('holds 1000 bytes: cut off')
    throttle('holds 20 bytes: cut off')
    clock.now = 4.9
    throttle('holds 1000 bytes: cut off')
    assert lines == ['holds 1000 bytes: cut off']
    clock.now = 5.0
    throttle('holds 3 bytes: cut off')
    assert lines[1:] == ['holds 3 bytes: cut off']


def test_a_new_kind_of_error_is_logged_at_once() -> None:
    lines: list[str] = []
    throttle = LogThrottle(lines.append, clock=Clock())
    for text in ('holds 10 bytes', 'encoding "rainbow" is not supported', 'image of 0x0 pixels'):
        throttle(text)
    assert len(lines) == 3


def test_quoted_text_of_a_publisher_makes_no_new_kind() -> None:
    lines: list[str] = []
    throttle = LogThrottle(lines.append, clock=Clock())
    for text in ('rainbow', '', 'a "quoted" word', 'two\nlines', '\0', 'x' * 1000, '"', 'ünïcode'):
        throttle(f'encoding {quoted(text)} is not supported')
    assert len(lines) == 1


def test_ten_thousand_unknown_encodings_are_one_line_and_one_kind() -> None:
    lines: list[str] = []
    throttle = LogThrottle(lines.append, clock=Clock())
    reader, image = ImageReader(), to_message(np.zeros((2, 2, 3), np.uint8), 'rgb8', Header())
    encodings = [''.join(letters) for letters, _ in zip(product(ascii_lowercase, repeat=3), range(10_000))]
    for image.encoding in encodings:
        with pytest.raises(ImageMessageError) as error:
            reader.read(image)
        throttle(str(error.value))
    assert len(lines) == len(throttle) == 1
    assert encodings[0] in lines[0]


def test_kinds_that_never_repeat_fill_neither_the_memory_nor_the_log() -> None:
    lines: list[str] = []
    clock = Clock()
    throttle = LogThrottle(lines.append, interval=5.0, capacity=32, clock=clock)
    kinds = [''.join(letters) for letters, _ in zip(product(ascii_lowercase, repeat=3), range(10_000))]
    for number, kind in enumerate(kinds):
        clock.now = number / 1000  # for ten seconds
        throttle(kind)
        assert len(throttle) <= 32
    assert 32 < len(lines) <= 2 * 32


def test_after_too_many_kinds_errors_are_logged_again_when_the_interval_is_over() -> None:
    lines: list[str] = []
    clock = Clock()
    throttle = LogThrottle(lines.append, interval=5.0, capacity=2, clock=clock)
    for kind in ('a', 'b', 'c'):
        throttle(kind)
    clock.now = 5.0
    throttle('c')
    assert lines == ['a', 'b', 'c']


def test_threads_that_log_at_the_same_time_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # the node's worker and the thread of its executor do so; an exception would end the worker
    failures: list[BaseException] = []
    monkeypatch.setattr(threading, 'excepthook', lambda failure: failures.append(failure.exc_value))
    ticks = count()
    throttle = LogThrottle(lambda text: None, interval=2.0, capacity=4, clock=lambda: next(ticks))
    threads = [threading.Thread(target=lambda: [throttle(letter) for letter in ascii_lowercase * 1000]) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures

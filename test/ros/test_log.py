from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from enet_ros.ros.log import forward_log


class RosLogger:
    """Notes what a node's logger would print."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> object:
        return lambda text: self.lines.append((level, text))


@pytest.fixture(autouse=True)
def package_logger() -> Iterator[None]:
    logger = logging.getLogger('enet_ros')
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers, logger.level = handlers, level


def test_what_the_package_logs_comes_out_of_the_nodes_logger_with_its_level() -> None:
    first, second = RosLogger(), RosLogger()
    forward_log(first)
    forward_log(second)  # of a node that was started anew in the same process
    log = logging.getLogger('enet_ros.engines.cache')
    log.info('building for %s', 'Orin')
    log.warning('not cached')
    log.error('broken')
    log.debug('details')
    assert second.lines == [('info', 'building for Orin'), ('warning', 'not cached'), ('error', 'broken')]
    assert not first.lines


def test_a_real_ros_logger_takes_all_levels(capfd: pytest.CaptureFixture[str]) -> None:
    import rclpy.logging

    forward_log(rclpy.logging.get_logger('enet'))
    log = logging.getLogger('enet_ros.engines.base')
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        log.log(level, 'level %d', level)
    error = capfd.readouterr().err
    assert all(f'level {level}' in error for level in (20, 30, 40))

"""Let what the rest of the package logs, which knows nothing of ROS, come out of a node's logger."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class _Forward(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on; one call for each level, since ROS loggers allow a call no other level than its first."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def forward_log(logger: RcutilsLogger) -> None:
    """Pass what the package logs on to `logger`, from information upwards; to it alone when called again."""
    package = logging.getLogger('enet_ros')
    for handler in [handler for handler in package.handlers if isinstance(handler, _Forward)]:
        package.removeHandler(handler)
    package.addHandler(_Forward(logger))
    package.setLevel(logging.INFO)

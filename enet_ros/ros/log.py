"""The node's log: forward the package's log to ROS, and keep repeated errors from flooding it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger


class _Forward(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Forward a record. ROS allows only one severity for each calling line, hence one call for each level."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def forward_log(logger: RcutilsLogger) -> None:
    """Forward the package's log to `logger`, from level INFO. A second call replaces the logger of the first."""
    package = logging.getLogger('enet_ros')
    for handler in [handler for handler in package.handlers if isinstance(handler, _Forward)]:
        package.removeHandler(handler)
    package.addHandler(_Forward(logger))
    package.setLevel(logging.INFO)


class LogThrottle:
    """Logs each kind of error at most once per interval. Any thread may call it.

    Texts are of the same kind if they differ only in digits and in double-quoted parts, such as the text of a publisher. The
    number of kinds that are remembered is bounded, and so is the number of lines: when it is reached, new kinds are dropped
    until an older one is forgotten, one interval after it was logged.
    """

    def __init__(self, log: Callable[[str], object], interval: float = 5.0, capacity: int = 32,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Pass texts to `log`, at most `capacity` in `interval` seconds of `clock`."""
        self._log, self._interval, self._capacity, self._clock = log, interval, capacity, clock
        self._logged: dict[str, float] = {}  # when a kind was logged, oldest first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of kinds that are remembered."""
        return len(self._logged)

    def __call__(self, text: str) -> None:
        """Log `text` unless its kind was logged within the interval or too many kinds were."""
        kind = re.sub(r'\d+', '#', re.sub(r'"[^"]*"', '""', text))
        with self._lock:
            now = self._clock()
            while self._logged and now - next(iter(self._logged.values())) >= self._interval:
                del self._logged[next(iter(self._logged))]
            if kind in self._logged or len(self._logged) >= self._capacity:
                return
            self._logged[kind] = now
        self._log(text)

"""TensorRT's messages in Python's logging."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import tensorrt as trt

from enet_ros.errors import EngineError, one_line

log = logging.getLogger(__name__)


class TensorRtLog(trt.ILogger):
    """Logs TensorRT's messages, and keeps the first error for an exception: later errors follow from it."""

    def __init__(self) -> None:
        """Start without an error."""
        trt.ILogger.__init__(self)
        self.error = ''
        """The first error since this was last set to ''."""

    def log(self, severity: Any, message: str) -> None:  # noqa: ANN401 - TensorRT's
        """Log a message. TensorRT calls this."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.error = self.error or message
        log.debug('TensorRT: %s', message)  # the exception has the error; the rest is for debugging

    @property
    def reason(self) -> str:
        """Return the first error as one line for an exception."""
        return one_line(EngineError(self.error or 'no reason given'))


@cache
def tensorrt_log() -> TensorRtLog:
    """Return the only logger of this process: TensorRT keeps the first one it gets and ignores others."""
    return TensorRtLog()

"""TensorRT's messages, in Python's logging."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import tensorrt as trt

log = logging.getLogger(__name__)


class TensorRtLog(trt.ILogger):
    """Hands on TensorRT's messages, and keeps the first error, the cause of others, for an exception."""

    def __init__(self) -> None:
        """Start without an error."""
        trt.ILogger.__init__(self)
        self.error = ''

    def log(self, severity: Any, message: str) -> None:  # noqa: ANN401 - TensorRT's
        """Log a message; called by TensorRT."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.error = self.error or ' '.join(message.split())
        # an exception says what was wrong; the rest is for those who look closer
        log.debug('TensorRT: %s', message)


@cache
def tensorrt_log() -> TensorRtLog:
    """Return the one logger of this process: TensorRT keeps the first that it is given and ignores others."""
    return TensorRtLog()

"""Compute the confidence only while something subscribes to it."""

from __future__ import annotations

import logging
import threading

from enet_ros.errors import described
from enet_ros.segmenter import Segmenter

log = logging.getLogger(__name__)


class ConfidenceSwitch:
    """Exchanges the engine for one with or without confidence, on a thread of its own.

    Creating an engine takes from half a second to minutes. The worker uses the former one meanwhile, so that no labels are
    lost.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        """Switch the engine of `segmenter`."""
        self._segmenter = segmenter
        self._thread: threading.Thread | None = None
        self._failed = False

    def follow(self, wanted: bool) -> None:
        """Start to switch if the engine does not do what is wanted. Call it repeatedly; it returns at once."""
        self._failed = self._failed and wanted  # try again for the next subscriber
        is_busy = self._thread is not None and self._thread.is_alive()
        if is_busy or self._failed or wanted == self._segmenter.engine.spec.confidence:
            return
        self._thread = threading.Thread(target=self._switch, args=(wanted,), name='confidence', daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until no switch is under way."""
        if self._thread is not None:
            self._thread.join()

    def _switch(self, wanted: bool) -> None:
        try:
            self._segmenter.set_confidence(wanted)
        except Exception as error:  # a runtime can raise any type: otherwise every image would start another attempt
            self._failed = True
            log.error('confidence is not published: %s', described(error))

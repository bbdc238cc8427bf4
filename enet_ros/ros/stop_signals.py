"""The signals that end the node."""

from __future__ import annotations

import signal

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Notes SIGINT and SIGTERM, for the loop of the main thread to look at between two callbacks.

    rclpy's own handlers shut the context down on a thread of theirs, in the middle of any call. A call then fails that did
    nothing wrong, and an EventsExecutor that was just adding a node aborts the process when it is destroyed (rclpy 7.1.6).
    KeyboardInterrupt, which Python raises in the middle of any line, is no better. Call `rclpy.init` with
    `SignalHandlerOptions.NO`, or its handlers replace these.
    """

    def __init__(self) -> None:
        """Install the handlers. Call it on the main thread."""
        self.received = False
        for number in _STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.received = True

    def ignore(self) -> None:
        """Ignore the signals from now on: Python, at its end, replaces handlers by the default action, but not this."""
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

"""The signals that end the node."""

from __future__ import annotations

import signal

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Notes SIGINT and SIGTERM, for the loop of the main thread to look at between two callbacks.

    rclpy's own handlers shut the context down from another thread, at any time. Then calls of the main thread fail, and an
    EventsExecutor that is adding a node at that time aborts the process when it is destroyed (rclpy 7.1.6). A
    KeyboardInterrupt can interrupt any line as well, the clean-up included. Call `rclpy.init` with
    `SignalHandlerOptions.NO`: otherwise its handlers replace these.
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

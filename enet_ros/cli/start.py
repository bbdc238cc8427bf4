"""The entry point of `enet`. Importing the commands takes seconds, in which an interrupt must not print a traceback."""

from __future__ import annotations

import signal


def main() -> int:
    """Import and run `enet`, and return its exit code. SIGINT kills the process until the commands are imported."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not where a shell ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from enet_ros.cli.main import main as run

    signal.signal(signal.SIGINT, handler)
    return run()

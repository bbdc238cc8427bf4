"""The exit codes of the `enet` command, the node and the scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an exit code means."""

    SUCCESS = 0
    ERROR = 1
    USAGE = 2
    GATE = 3
    """A required result was not reached."""
    INCOMPLETE = 4
    """The input was incomplete. What was readable was processed, and the rest was reported."""
    INTERRUPTED = 130

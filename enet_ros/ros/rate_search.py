"""Search the highest image rate that a node keeps up with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MAX_DROPPED = 0.01
"""Share of the images that may come back without labels."""
_PRECISION = 1.05
_LOWEST, _HIGHEST = 0.1, 10_000.0


@dataclass(frozen=True)
class Trial:
    """What happened at one rate."""

    rate: float
    """Images that were sent per second; less than asked for if they cannot be sent as fast."""
    dropped: float
    """Share of them without labels, 0 to 1."""


def highest_rate(play: Callable[[float], Trial], start: float) -> float | None:
    """Return the highest rate in Hz with under 1 % drops, to within 5 %; None if there is none.

    `play` sends images at a rate in Hz for a while. The rate is doubled or halved from `start` on, then bisected. The search
    ends where images cannot be sent faster.
    """
    passed = failed = None
    best = None
    rate = start
    while _LOWEST <= rate <= _HIGHEST and not (passed and failed and failed / passed < _PRECISION):
        trial = play(rate)
        if trial.dropped < MAX_DROPPED:
            passed, best = rate, max(best or 0.0, trial.rate)
            if trial.rate * _PRECISION < rate:
                break
        else:
            failed = rate
        if not passed or not failed:
            rate *= 2 if passed else 0.5
        else:
            rate = math.sqrt(passed * failed)
    return best

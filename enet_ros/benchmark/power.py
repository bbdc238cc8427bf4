"""Power that the sensors of an NVIDIA Jetson board measure."""

from __future__ import annotations

import threading
from pathlib import Path
from statistics import fmean

WHOLE = ('VDD_IN', 'POM_5V_IN')
"""Names of the rail that feeds all others, on boards that measure it: Orin Nano and NX, Xavier NX; Nano, TX2."""
_PERIOD = 0.05


def board_power(root: Path = Path('/sys')) -> float | None:
    """Return what the board takes at the moment, in watts, or None where there is no such sensor.

    Where no rail feeds all others (AGX Orin, AGX Xavier) it is the sum of those that are measured, which leaves out what
    has no sensor.

    Source: the INA3221 monitor's files of the kernel's hwmon interface, inN_label, inN_input (mV) and currN_input (mA).
    """
    rails = {}
    for label in sorted(root.glob('bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label')):
        number = label.name[len('in'):-len('_label')]
        try:
            milli = [int((label.parent / f'{kind}{number}_input').read_text(encoding='ascii')) for kind in ('in', 'curr')]
            rails[label.read_text(encoding='ascii').strip()] = milli[0] * milli[1] / 1e6
        except (OSError, ValueError):  # a rail that is switched off, or one that only adds others up
            continue
    for name in WHOLE:
        if name in rails:
            return rails[name]
    return sum(rails.values()) if rails else None


class PowerMeter:
    """Reads `board_power` in a thread of its own while it is entered, as often as one likes."""

    def __init__(self) -> None:
        """Begin without readings; on a machine without a sensor it never has any."""
        self._readings: list[float] = []
        self._there = board_power() is not None

    def __enter__(self) -> None:
        """Begin to read."""
        if self._there:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        if self._there:
            self._stop.set()
            self._thread.join()

    def mean(self) -> float | None:
        """Return the mean of all readings in watts, or None without any."""
        return fmean(self._readings) if self._readings else None

    def _read(self) -> None:
        while not self._stop.wait(_PERIOD):
            if (power := board_power()) is not None:
                self._readings.append(power)

"""Read the power sensors of an NVIDIA Jetson board."""

from __future__ import annotations

import threading
from pathlib import Path
from statistics import fmean

WHOLE = ('VDD_IN', 'POM_5V_IN')
"""Names of the rail that feeds all others. Orin Nano, Orin NX, Xavier NX, Nano and TX2 measure it."""
_PERIOD = 0.05  # seconds between two readings


def board_power(root: Path = Path('/sys')) -> float | None:
    """Return the present power of the board in watts, or None without such a sensor.

    Boards that do not measure their input (AGX Orin, AGX Xavier) give the sum of all measured rails, which leaves out rails
    without a sensor.

    Source: the files of the INA3221 monitor in the kernel's hwmon interface: inN_label, inN_input (mV), currN_input (mA).
    """
    rails = {}
    for label in sorted(root.glob('bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label')):
        number = label.name[len('in'):-len('_label')]
        try:
            milli = [int((label.parent / f'{kind}{number}_input').read_text(encoding='ascii')) for kind in ('in', 'curr')]
            rails[label.read_text(encoding='ascii').strip()] = milli[0] * milli[1] / 1e6
        except (OSError, ValueError):  # a rail that is switched off, or a sum of rails without a current
            continue
    for name in WHOLE:
        if name in rails:
            return rails[name]
    return sum(rails.values()) if rails else None


class PowerMeter:
    """Reads `board_power` on its own thread inside a `with` block, which may be entered any number of times."""

    def __init__(self) -> None:
        """Start without readings."""
        self._readings: list[float] = []
        self._has_sensor = board_power() is not None

    def __enter__(self) -> None:
        """Start to read."""
        if self._has_sensor:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        if self._has_sensor:
            self._stop.set()
            self._thread.join()

    def mean(self) -> float | None:
        """Return the mean of all readings in watts, or None without readings."""
        return fmean(self._readings) if self._readings else None

    def _read(self) -> None:
        while not self._stop.wait(_PERIOD):
            if (power := board_power()) is not None:
                self._readings.append(power)

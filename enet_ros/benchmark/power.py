"""Power that the sensors of an NVIDIA Jetson board measure."""

from __future__ import annotations

from pathlib import Path

INPUTS = ('VDD_IN', 'POM_5V_IN', 'VIN_SYS_5V0')
"""Names that the boards give to the rail that feeds all others: Orin and Xavier, Nano and TX2, Xavier AGX."""


def board_power(root: Path = Path('/sys')) -> float | None:
    """Return what the whole board takes at the moment, in watts, or None where there is no such sensor.

    Source: the INA3221 monitor's files of the kernel's hwmon interface, inN_label, inN_input (mV) and currN_input (mA).
    """
    for label in sorted(root.glob('bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label')):
        try:
            if label.read_text(encoding='ascii').strip() in INPUTS:
                number = label.name[len('in'):-len('_label')]
                milli = [
                    int((label.parent / f'{kind}{number}_input').read_text(encoding='ascii')) for kind in ('in', 'curr')
                ]
                return milli[0] * milli[1] / 1e6
        except (OSError, ValueError):  # a rail that is switched off
            continue
    return None

from __future__ import annotations

from pathlib import Path

import pytest

from enet_ros.benchmark.power import board_power


def _rail(monitor: Path, number: int, label: str, millivolts: str, milliamperes: str) -> None:
    """Write the files of a rail as the kernel of a Jetson does."""
    monitor.mkdir(parents=True, exist_ok=True)
    (monitor / f'in{number}_label').write_text(f'{label}\n')
    (monitor / f'in{number}_input').write_text(f'{millivolts}\n')
    (monitor / f'curr{number}_input').write_text(f'{milliamperes}\n')


def test_the_power_of_the_rail_that_feeds_all_others_is_read(tmp_path: Path) -> None:
    monitor = tmp_path / 'bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3'
    _rail(monitor, 2, 'VDD_CPU_GPU_CV', '5000', '999')
    _rail(monitor, 1, 'VDD_IN', '5072', '1480')
    assert board_power(tmp_path) == pytest.approx(5.072 * 1.480)


def test_all_measured_rails_are_added_without_a_rail_that_feeds_them(tmp_path: Path) -> None:
    monitors = tmp_path / 'bus/i2c/drivers/ina3221'
    _rail(monitors / '1-0040/hwmon/hwmon3', 1, 'VDD_GPU_SOC', '19000', '400')
    _rail(monitors / '1-0040/hwmon/hwmon3', 2, 'VDD_CPU_CV', '19000', '100')
    _rail(monitors / '1-0041/hwmon/hwmon4', 1, 'VIN_SYS_5V0', '5000', '1000')
    assert board_power(tmp_path) == pytest.approx(7.6 + 1.9 + 5)


def test_power_is_none_without_a_readable_sensor(tmp_path: Path) -> None:
    assert board_power(tmp_path) is None
    _rail(tmp_path / 'bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3', 1, 'VDD_IN', 'unavailable', '0')
    assert board_power(tmp_path) is None

"""Statistics of a camera, with a clock that the tests move."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import pytest

from enet_ros.ros.statistics import STAGES, WINDOW, CameraStatistics, Latency, Totals, stamp_age


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> CameraStatistics:
    return CameraStatistics(clock)


def receive(statistics: CameraStatistics, clock: Clock, count: int, rate: float, age: float | None = 0.01) -> None:
    for _ in range(count):
        clock.now += 1 / rate
        statistics.count_received(age)


def seconds(total: float) -> dict[str, float]:
    return {**dict.fromkeys(STAGES, 0.001), 'total': total}


def test_before_the_first_image_nothing_is_known(statistics: CameraStatistics) -> None:
    snapshot = statistics.snapshot()
    assert snapshot.totals == Totals()
    assert (snapshot.fps_in, snapshot.fps_out, snapshot.lost_share, snapshot.last_error) == (0, 0, 0, '')
    assert (snapshot.age, snapshot.last_image, snapshot.last_error_time) == (None, None, None)
    assert not snapshot.latencies


def test_each_fate_of_an_image_is_counted(statistics: CameraStatistics) -> None:
    for _ in range(15):
        statistics.count_received(None)
    for _ in range(5):
        statistics.count_segmented(seconds(0.02))
    for _ in range(4):
        statistics.count_overwritten()
    for _ in range(3):
        statistics.count_refused('bad')
    for _ in range(2):
        statistics.count_skipped()
    statistics.count_lost(7)
    assert statistics.snapshot().totals == Totals(15, 5, 4, 3, 2, 7)


@pytest.mark.parametrize('rate', [0.5, 1, 10, 30, 90, 500])
def test_rates_of_steady_images_are_exact(statistics: CameraStatistics, clock: Clock, rate: float) -> None:
    receive(statistics, clock, 2000, rate)
    assert statistics.snapshot().fps_in == pytest.approx(rate)
    clock.now += 0.5 / rate
    assert statistics.snapshot().fps_in == pytest.approx(rate)


def test_rates_fall_to_zero_after_the_last_image(statistics: CameraStatistics, clock: Clock) -> None:
    receive(statistics, clock, 300, 30)
    rates = []
    for _ in range(6):
        clock.now += 1
        rates.append(statistics.snapshot().fps_in)
    assert rates == sorted(rates, reverse=True) and rates[0] < 29 and rates[-1] == 0


def test_images_at_the_same_moment_have_a_rate(statistics: CameraStatistics) -> None:
    statistics.count_received(None)
    statistics.count_received(None)
    assert statistics.snapshot().fps_in == 0


def test_latencies_are_percentiles_of_the_window_in_milliseconds(statistics: CameraStatistics, clock: Clock) -> None:
    statistics.count_segmented(seconds(9))
    clock.now += WINDOW + 1
    for number in range(101):
        clock.now += 0.01
        statistics.count_segmented(seconds(number / 1000))
    snapshot = statistics.snapshot()
    assert list(snapshot.latencies) == list(STAGES)
    assert snapshot.latencies['total'] == Latency(pytest.approx(50), pytest.approx(99))
    assert snapshot.latencies['wait'] == Latency(pytest.approx(1), pytest.approx(1))
    assert snapshot.fps_out == pytest.approx(100)
    clock.now += WINDOW + 1
    assert not statistics.snapshot().latencies


def test_a_refusal_is_recent_for_a_window_and_stays_the_last_error(statistics: CameraStatistics, clock: Clock) -> None:
    statistics.count_refused('first')
    clock.now += 1
    statistics.count_refused('second')
    assert statistics.snapshot().refused == 2
    clock.now += WINDOW + 1
    snapshot = statistics.snapshot()
    assert (snapshot.refused, snapshot.last_error, snapshot.last_error_time) == (0, 'second', 1001)


def test_the_lost_share_is_that_of_the_window(statistics: CameraStatistics, clock: Clock) -> None:
    receive(statistics, clock, 10, 10)
    statistics.count_lost(29)
    statistics.count_lost(1)
    assert statistics.snapshot().lost_share == 0.75
    clock.now += WINDOW + 1
    assert (statistics.snapshot().lost_share, statistics.snapshot().totals.lost) == (0, 30)


def test_ages_of_a_jump_of_ros_time_do_not_count(statistics: CameraStatistics, clock: Clock) -> None:
    """A looped bag: images from before the jump meet the clock from after it, and the other way round."""
    for _ in range(3):
        receive(statistics, clock, 20, 10, age=0.05)
        receive(statistics, clock, 3, 10, age=-60.0)
        receive(statistics, clock, 3, 10, age=60.0)
        assert statistics.snapshot().age == 0.05


def test_images_without_age_are_ignored(statistics: CameraStatistics, clock: Clock) -> None:
    receive(statistics, clock, 20, 10, age=None)
    assert statistics.snapshot().age is None
    receive(statistics, clock, 1, 10, age=0.2)
    assert statistics.snapshot().age == 0.2


@pytest.mark.parametrize(('stamp', 'now', 'age'), [
    (5_000_000_000, 5_250_000_000, 0.25), (5_250_000_000, 5_000_000_000, -0.25), (0, 5, None), (5, 0, None),
], ids=['past', 'future', 'stamp not set', 'no /clock yet'])
def test_stamp_age(stamp: int, now: int, age: float | None) -> None:
    assert stamp_age(stamp, now) == age


def test_memory_is_bounded(statistics: CameraStatistics, clock: Clock) -> None:
    def size() -> int:
        return sum(sys.getsizeof(value) for value in vars(statistics).values())

    sizes = []
    for _ in range(4):
        for _ in range(2000):
            statistics.count_received(0.1)
            statistics.count_segmented(seconds(0.01))
            statistics.count_refused('bad')
            statistics.count_lost(1)
        sizes.append(size())
    assert max(sizes) < 1.1 * sizes[0]


def test_counts_are_complete_with_many_threads() -> None:
    statistics = CameraStatistics()

    def count() -> None:
        for _ in range(2000):
            statistics.count_received(0.1)
            statistics.count_overwritten()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            totals = statistics.snapshot().totals  # while the others count
            assert 0 <= totals.received - totals.overwritten <= len(threads)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert statistics.snapshot().totals == replace(Totals(), received=8000, overwritten=8000)

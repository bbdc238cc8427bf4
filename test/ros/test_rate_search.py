"""The search for the highest rate, with nodes of known speed."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from enet_ros.ros.rate_search import Trial, highest_rate


@pytest.mark.parametrize('limit', [0.7, 8.0, 47.0, 333.0])
@pytest.mark.parametrize('start', [1.0, 10.0])
def test_the_rate_is_found_within_5_percent(limit: float, start: float) -> None:
    def play(rate: float) -> Trial:
        return Trial(rate, 0.0 if rate <= limit else 0.5)

    found = highest_rate(play, start)
    assert limit / 1.05 <= found <= limit


def test_the_share_of_drops_decides() -> None:
    # the share grows with the rate: 1 % at 100 Hz
    found = highest_rate(lambda rate: Trial(rate, rate / 10_000), 10.0)
    assert 95 <= found < 100


def test_it_ends_where_images_cannot_be_sent_faster() -> None:
    asked = []

    def play(rate: float) -> Trial:
        asked.append(rate)
        return Trial(min(rate, 60.0), 0.0)

    assert highest_rate(play, 10.0) == 60.0
    assert asked == [10, 20, 40, 80]


def test_a_node_that_answers_nothing_has_no_rate() -> None:
    assert highest_rate(lambda rate: Trial(rate, 1.0), 10.0) is None

"""The executor of the node."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from rclpy.executors import SingleThreadedExecutor

from enet_ros.ros import executor as module


def _run(executor: rclpy.executors.Executor, name: str) -> list[str]:
    """Spin a timer that fails once until it was called three times. Return what was raised."""
    node, calls, raised = rclpy.create_node(name), [], []

    def on_timer() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise ValueError('second call')

    timer = node.create_timer(0.02, on_timer)
    executor.add_node(node)
    try:
        while len(calls) < 3:
            try:
                executor.spin_once(timeout_sec=5)
            except ValueError as error:
                raised.append(str(error))
    finally:
        executor.shutdown()
        node.destroy_timer(timer)
        node.destroy_node()
    return raised


def test_the_events_executor_is_used_where_it_is_there(ros: None) -> None:
    if module.EventsExecutor is None:
        pytest.skip('this rclpy has no EventsExecutor: needs a newer one')
    executor = module.make_executor()
    executor.shutdown()
    assert type(executor).__name__ == 'EventsExecutor'


def test_a_callback_that_fails_is_raised_and_the_next_ones_run(ros: None) -> None:
    assert _run(module.make_executor(), 'executor_of_this_rclpy') == ['second call']


def test_an_rclpy_without_the_events_executor_gets_the_usual_one(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'EventsExecutor', None)
    executor = module.make_executor()
    assert isinstance(executor, SingleThreadedExecutor)
    assert _run(executor, 'usual_executor') == ['second call']

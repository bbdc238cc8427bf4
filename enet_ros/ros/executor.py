"""The executor of the node: the one of this rclpy that hands a message over soonest."""

from __future__ import annotations

from rclpy.executors import Executor, SingleThreadedExecutor

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # Humble, and the first releases of Jazzy
    EventsExecutor = None


def make_executor() -> Executor:
    """Return an executor that runs all callbacks on the thread that spins it.

    For each message, the SingleThreadedExecutor builds a wait set of every subscription, service and timer, in Python. The
    EventsExecutor, which newer releases of rclpy have, learns from the middleware what is ready. docs/performance.md, "The
    node", has the time that saves. Both raise the exception of a callback from spin_once; the EventsExecutor also logs it.
    """
    return SingleThreadedExecutor() if EventsExecutor is None else EventsExecutor()

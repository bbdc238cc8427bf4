"""QoS that a parameter file can override."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.qos_overriding_options import QoSOverridingOptions

from enet_ros.errors import UsageError, one_line


def overridable() -> QoSOverridingOptions:
    """Return options that let `qos_overrides` in a parameter file change history, depth and reliability of a topic."""
    return QoSOverridingOptions.with_default_policies()


@contextmanager
def naming_topic(topic: str) -> Iterator[None]:
    """Name the topic whose publisher or subscription is created in the block, if its `qos_overrides` are refused.

    Raises:
        UsageError: a value is refused.

    """
    try:
        yield
    # what rclpy (7.1.6) raises for an unknown word, a wrong type, a negative and a huge depth; RCLError is a RuntimeError
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise UsageError(
            f'QoS of {topic} refused ({one_line(error)}): check qos_overrides.{topic} in the parameter file') from error

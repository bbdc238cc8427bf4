"""The bond by which Nav2's lifecycle manager notices that the node has died, where bondpy is installed."""

from __future__ import annotations

from rclpy.node import Node

try:
    from bondpy import bondpy
except ImportError:  # not part of ROS's core packages
    bondpy = None

_HEARTBEAT_PERIOD, _HEARTBEAT_TIMEOUT = 0.1, 4.0
"""Seconds, as in Nav2's own nodes."""


class ManagerBond:
    """Tells a lifecycle manager that the node is alive."""

    def __init__(self, node: Node) -> None:
        """Form the bond under the name of `node`, as Nav2's lifecycle manager expects it. Without bondpy nothing happens."""
        self._node = node
        self._bond = None
        if bondpy is None:
            node.get_logger().info('no bond: install bondpy, or set bond_timeout of the lifecycle manager to 0.0')
            return
        self._bond = bondpy.Bond(node, 'bond', node.get_name())
        self._bond.set_heartbeat_period(_HEARTBEAT_PERIOD)
        self._bond.set_heartbeat_timeout(_HEARTBEAT_TIMEOUT)
        self._bond.start()

    def destroy(self) -> None:
        """Break the bond."""
        if self._bond is None:
            return
        self._bond.shutdown()
        # bondpy (4.1) leaves them in the lists of the node
        self._node.destroy_subscription(self._bond.sub)
        self._node.destroy_publisher(self._bond.pub)
        self._bond = None

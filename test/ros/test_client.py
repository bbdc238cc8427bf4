"""What a program that plays images to the node asks it."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from rclpy.node import Node

from enet_ros.errors import EnetError
from enet_ros.ros.client import ReplayClient, spinning


@pytest.mark.parametrize('is_there', [False, True], ids=['no node', 'node that hangs'])
def test_a_node_that_does_not_tell_its_parameters_is_an_error(is_there: bool, ros: None) -> None:
    node = Node('hangs') if is_there else None  # never spun
    client = ReplayClient('/hangs', lambda _: None)
    with spinning(client), pytest.raises(EnetError) as raised:
        client.parameters(('threads',), 2.0)
    assert str(raised.value) == ('node /hangs does not answer its service /hangs/get_parameters within 2 s: check '
                                 'whether it still runs')
    client.destroy_node()
    if node:
        node.destroy_node()


def test_a_node_tells_the_parameters_that_it_has(ros: None) -> None:
    node = Node('tells')
    for name in ('threads', 'rate'):
        node.declare_parameter(name, 3)
    client = ReplayClient('/tells', lambda _: None)
    with spinning(client), spinning(node):
        assert client.parameters(('threads', 'rate'), 20.0) == {'threads': 3, 'rate': 3}
        with pytest.raises(EnetError, match=r'^node /tells does not have all of the parameters threads, other: '):
            client.parameters(('threads', 'other'), 20.0)
    client.destroy_node()
    node.destroy_node()

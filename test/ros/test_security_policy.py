"""config/security/enet_policy.xml against the graph of the running node, in all lifecycle states."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT
from ros_nodes import Process, Robot, wait_until

from enet_ros.ros.client import spinning

pytestmark = pytest.mark.usefixtures('ros')

_POLICY = ROOT / 'config' / 'security' / 'enet_policy.xml'
_OPTIONAL = {'vision_msgs': '/enet/label_info', 'bondpy': '/bond'}
"""Packages without which the node does not have these topics."""


def _permissions() -> set[tuple[str, str]]:
    """Return what the policy allows: publish, subscribe or reply, and the full name of the topic or service."""
    profile = ElementTree.parse(_POLICY).find('enclaves/enclave[@path="/enet"]/profiles/profile[@ns="/"][@node="enet"]')
    listed = [
        (rule, entry.text.replace('~', '/enet') if entry.text[0] in '~/' else f'/{entry.text}')
        for group in profile for rule, qualifier in group.attrib.items() if qualifier == 'ALLOW' for entry in group
    ]
    assert len(listed) == len(set(listed))
    return set(listed)


def _graph(robot: Robot) -> set[tuple[str, str]]:
    """Return what the node publishes, subscribes to and serves at this moment."""
    calls = {
        'publish': robot.get_publisher_names_and_types_by_node, 'subscribe': robot.get_subscriber_names_and_types_by_node,
        'reply': robot.get_service_names_and_types_by_node, 'request': robot.get_client_names_and_types_by_node,
    }
    return {(rule, name) for rule, call in calls.items() for name, _ in call('enet', '/')}


def test_the_policy_lists_exactly_what_the_node_uses(small_model: Path, tmp_path: Path) -> None:
    process = Process(tmp_path / 'log', model=small_model, use_sim_time=True, autostart=False)
    robot = Robot('')
    with spinning(robot):
        used: set[tuple[str, str]] = set()
        for transport, topic in (('raw', '/image'), ('compressed', '/image/compressed')):
            assert robot.set(image_transport=transport).successful
            for transition in ('configure', 'activate', 'deactivate', 'cleanup'):
                assert robot.change_state(transition), process.log()
                if transition == 'activate':
                    wait_until(lambda: ('subscribe', topic) in _graph(robot), process.log)  # noqa: B023 - called at once
                used |= _graph(robot)
        assert process.stop() == 0, process.log()
    robot.destroy_node()
    missing = {name for package, name in _OPTIONAL.items() if find_spec(package) is None}
    assert used == {(rule, name) for rule, name in _permissions() if name not in missing}

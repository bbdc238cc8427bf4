"""The configurations for RViz and Foxglove: whether they fit the node. Neither program is installed with the package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from helpers import ROOT
from rclpy.qos import QoSProfile

from enet_ros.ros.diagnostics import CameraReport, camera_status
from enet_ros.ros.outputs import TOPICS
from enet_ros.ros.statistics import CameraStatistics

IMAGES = {'/camera/image_raw', *(f'/enet/{name}' for name, kind in TOPICS.items() if kind.__name__ == 'Image')}


def _panels(layout: object) -> Iterator[str]:
    """Yield the panels of a layout: a panel or a split in two."""
    if isinstance(layout, dict):
        assert layout['direction'] in ('row', 'column') and 0 < layout['splitPercentage'] < 100
        yield from _panels(layout['first'])
        yield from _panels(layout['second'])
    else:
        yield str(layout)


def _foxglove() -> dict[str, Any]:
    return json.loads((ROOT / 'config' / 'enet.foxglove.json').read_text())


def test_rviz_shows_topics_of_the_node() -> None:
    manager = yaml.safe_load((ROOT / 'config' / 'enet.rviz').read_text())['Visualization Manager']
    topics = {display['Topic']['Value']: display['Enabled'] for display in manager['Displays']}
    assert topics.keys() == IMAGES
    assert {topic for topic, is_on in topics.items() if is_on} == {'/camera/image_raw', '/enet/overlay', '/enet/color'}
    # a reliable subscription does not match cameras that are best effort
    assert {display['Topic']['Reliability Policy'] for display in manager['Displays']} == {'Best Effort'}
    assert manager['Global Options']['Fixed Frame'] == 'camera'


def test_foxglove_shows_each_panel_once() -> None:
    layout = _foxglove()
    assert sorted(_panels(layout['layout'])) == sorted(layout['configById'])


def test_foxglove_shows_topics_of_the_node() -> None:
    panels = _foxglove()['configById']
    images = {panel['imageMode']['imageTopic'] for name, panel in panels.items() if name.startswith('Image!')}
    assert images == {'/camera/image_raw', '/enet/overlay', '/enet/labels'} <= IMAGES
    assert panels['DiagnosticSummary!all']['topicToRender'] == '/diagnostics'


def test_foxglove_plots_values_of_the_diagnostics() -> None:
    report = CameraReport('image', '/camera/image_raw', '', QoSProfile(depth=1), 'active', True, None, 0, 0,
                          CameraStatistics().snapshot())
    status = camera_status('/enet', report)
    keys = {value.key for value in status.values}
    plots = [panel for name, panel in _foxglove()['configById'].items() if name.startswith('Plot!')]
    paths = [path['value'] for plot in plots for path in plot['paths'] if path['enabled']]
    assert len(paths) == 4
    for path in paths:
        match = re.fullmatch(r'/diagnostics\.status\[:]\{name=="([^"]+)"}\.values\[:]\{key=="([^"]+)"}\.value', path)
        assert match is not None and match[1] == status.name and match[2] in keys

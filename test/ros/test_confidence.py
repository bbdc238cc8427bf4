"""The switch between engines with and without confidence. test_segment_node.py has it in a node."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from enet_ros.engines.base import EngineSpec
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/test.sh installs it, or source your ROS installation')

from enet_ros.ros.confidence import ConfidenceSwitch


def test_a_runtime_that_fails_is_logged_and_not_tried_again_for_the_same_subscriber(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = Segmenter(read_model(small_model), EngineSpec('torch', 'fp32'))

    def fail(wanted: bool) -> None:
        raise RuntimeError('out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(segmenter, 'set_confidence', fail)
        switch = ConfidenceSwitch(segmenter)
        with caplog.at_level(logging.ERROR, 'enet_ros'):
            for _ in range(3):
                switch.follow(True)
                switch.wait()
    assert caplog.messages == ['confidence is not published: RuntimeError: out of memory']
    switch.follow(False)  # the subscriber leaves
    switch.follow(True)
    switch.wait()
    assert segmenter.engine.spec.confidence

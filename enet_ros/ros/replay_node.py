"""The node that a recording is played to: one that is started for it, or one that runs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sensor_msgs.msg import CompressedImage, Image

from enet_ros.errors import EnetError
from enet_ros.ros.client import CameraStatus, ReplayClient, spinning
from enet_ros.ros.live_figures import IDLE_TIMEOUT, is_idle
from enet_ros.ros.node_process import NodeProcess, running_node
from enet_ros.ros.replay_messages import Frames, Message, first_frame, make_message

_DISCOVERY = 10.0
"""Seconds in which a running node must be found."""
_SILENCE = 10.0
"""Seconds without diagnostics, which come once per second, after which a running node counts as gone."""
_READY = 900.0
"""Seconds in which a node must be ready: it may build an engine."""
_WARM_UP = 10
"""Images that must be answered before the first one that counts."""


@dataclass(frozen=True)
class ReplayNode:
    """A node that is ready, and the client that is connected to it."""

    client: ReplayClient
    process: NodeProcess | None
    kind: type[Message]
    """Type of the messages that the node takes."""
    name: str
    idle: CameraStatus
    """Its state before the first image."""
    parameters: Mapping[str, object]
    """Its parameters `resize_mode` and `threads`."""

    def check(self) -> None:
        """Check that the node still runs and segments.

        Raises:
            EnetError: it does not.

        """
        _check(self.client, self.name, self.process)
        if not self.client.subscribers:
            raise EnetError(f'node {self.name} does not take images any more: check whether it still runs and is active')

    def status(self) -> CameraStatus:
        """Return the next state of the node.

        Raises:
            EnetError: it stops, is not active any more, or was started again since `idle`, which the counters tell.

        """
        status = self.client.wait_for_status(lambda _: True, _SILENCE)
        self.check()
        if status is None:
            raise EnetError(f'node {self.name} publishes no diagnostics any more: check whether it still runs')
        received = [int(status.values['received']) for status in self.client.statuses]
        if received != sorted(received):
            raise EnetError(f'node {self.name} was started again during the replay: see its messages for the reason')
        return status


@contextmanager
def ready_node(frames: Frames, node: str, parameters: Mapping[str, object]) -> Iterator[ReplayNode]:
    """Connect to a node, and wait until it answers images like those of `frames`. Warm-up and engine builds are over then.

    Args:
        frames: What will be played.
        node: Full name of a running node; empty = start one for the duration of the block.
        parameters: Parameters of the node that is started.

    Raises:
        EnetError: no frame can be used, or the node is not there, stops or is not ready in time.

    """
    first = first_frame(frames)
    name = node or f'/enet_replay_{os.getpid()}/enet'
    with ExitStack() as stack:
        client = ReplayClient(name, lambda _: None)
        stack.callback(client.destroy_node)
        stack.enter_context(spinning(client))
        process = None
        if node:
            topic, kind = _find_node(client, name)
        else:
            kind = CompressedImage if hasattr(first.message, 'format') else Image
            topic, process = stack.enter_context(_started_node(name, kind, parameters))
        client.advertise(topic, kind)
        idle = _wait_until_ready(client, name, process, make_message(first, kind))
        chosen = client.parameters(('resize_mode', 'threads'), _DISCOVERY)
        yield ReplayNode(client, process, kind, name, idle, chosen)


@contextmanager
def _started_node(
    name: str, kind: type[Message], parameters: Mapping[str, object]
) -> Iterator[tuple[str, NodeProcess]]:
    """Run a node and yield its image topic and its process."""
    namespace, _, base = name.rpartition('/')
    topic = f'{namespace}/image'
    is_compressed = kind is CompressedImage
    # reliable: otherwise images are lost where they go over UDP, as in a container with a small /dev/shm
    fixed = {
        'image_reliability': 'reliable', 'image_transport': 'compressed' if is_compressed else 'raw',
        'image_timeout': _READY,  # there are no images before and after the recording
    }
    remappings = {'__ns': namespace, '__node': base}
    with tempfile.TemporaryDirectory() as logs, \
            running_node({**parameters, **fixed}, remappings=remappings, log_folder=Path(logs)) as process:
        yield f'{topic}/compressed' if is_compressed else topic, process


def _find_node(client: ReplayClient, name: str) -> tuple[str, type[Message]]:
    """Return the image topic of a running node and the type of its messages."""
    status = client.wait_for_status(lambda status: 'topic' in status.values, _DISCOVERY)
    if status is None:
        raise EnetError(f'no node {name} publishes diagnostics: start it, or check its name and ROS_DOMAIN_ID')
    _check(client, name, None)
    topic = status.values['topic']
    if len({other.values.get('topic', topic) for other in client.statuses}) > 1:
        raise EnetError(f'node {name} has several cameras: use one with a single camera')
    if client.count_publishers(topic):
        raise EnetError(f'images are already published on {topic}: stop the camera while bags are replayed to {name}')
    kinds = {info.topic_type for info in client.get_subscriptions_info_by_topic(topic)}
    return topic, CompressedImage if 'sensor_msgs/msg/CompressedImage' in kinds else Image


def _check(client: ReplayClient, name: str, process: NodeProcess | None) -> None:
    """Check that a node runs and, if it was not started here, that it segments."""
    if process is not None:
        process.check()
        return
    status = client.statuses[-1]
    if time.monotonic() - status.arrived > _SILENCE:
        raise EnetError(f'node {name} publishes no diagnostics any more: check whether it still runs')
    if status.values['state'] != 'active':
        raise EnetError(f'node {name} is {status.values["state"]}: activate it')
    if status.values['enabled'] != 'true':
        raise EnetError(f'node {name} is disabled: call its service {name}/enable')


def _wait_until_ready(
    client: ReplayClient, name: str, process: NodeProcess | None, image: Message
) -> CameraStatus:
    """Send an image until it is answered, then wait until these images are out of the figures of the node.

    Raises:
        EnetError: the node stops, refuses its configuration, or is not ready in time.

    """
    pause, deadline, answered = 1.0, time.monotonic() + _READY, 0
    while answered < _WARM_UP:
        _check(client, name, process)
        if client.statuses and client.statuses[-1].is_error:
            raise EnetError(f'node {name}: {client.statuses[-1].message}')
        if time.monotonic() > deadline:
            raise EnetError(f'node {name} gave no labels and confidence within {_READY:.0f} s: see its messages')
        if not client.subscribers:
            time.sleep(0.1)
            continue
        client.send(image, -1)
        if client.wait_for_answers(pause):
            answered += 1
        else:
            pause = min(2 * pause, 60.0)
    status = client.wait_for_status(is_idle, IDLE_TIMEOUT)
    _check(client, name, process)
    if status is None:
        raise EnetError(f'node {name} segments other images: stop what else publishes images to it')
    return status

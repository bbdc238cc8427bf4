"""Replay recordings through a running node: its real topics, in real time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from types import TracebackType

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_full_topic_name import validate_full_topic_name

from enet_ros.errors import EnetError, UsageError, one_line, quoted
from enet_ros.network.model_file import ModelFile
from enet_ros.replay.collector import Collector
from enet_ros.replay.coverage import CoverageCounter
from enet_ros.replay.frames import SegmentedFrame
from enet_ros.replay.pipeline import read_ahead
from enet_ros.replay.results import ReplayResult
from enet_ros.ros.answer_store import AnswerStore
from enet_ros.ros.client import Answer
from enet_ros.ros.live_figures import LivePlay, live_figures
from enet_ros.ros.rate_search import Trial, highest_rate
from enet_ros.ros.replay_messages import Frames, to_messages
from enet_ros.ros.replay_node import ReplayNode, ready_node

RCLError = rclpy_implementation.RCLError
PATIENCE = 3.0
"""Seconds without labels after which the images that are left count as dropped."""
_AHEAD = 8
_TRIAL_SECONDS, _TRIAL_IMAGES = 5.0, 50


class LiveReplay:
    """Replays recordings through nodes of its own, or through one that already runs."""

    def __init__(
        self, model: ModelFile, node: str = '', *, rate: float = 1.0, find_rate: bool = False, wait: bool = False
    ) -> None:
        """Use it as a context.

        Args:
            model: The model of the nodes.
            node: Name of a running node, such as /enet; empty = start a node for each recording.
            rate: How many times as fast as recorded.
            find_rate: Also search the highest rate, which is `highest_rate_hz` of the figures.
            wait: Send an image only when the one before has come back, even if it is then late, so that a slow machine drops
                none.

        Raises:
            UsageError: `node` cannot be the name of a node.

        """
        self._model, self._rate, self._find_rate, self._wait = model, rate, find_rate, wait
        self._engine: dict[str, object] = {}
        self._node = _full_name(node) if node else ''
        self._plays: list[LivePlay] = []
        self._highest_rate: float | None = None

    def __enter__(self) -> LiveReplay:
        """Start ROS. A signal stops this program, which stops its node.

        Raises:
            EnetError: ROS does not start.

        """
        try:
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        except RCLError as error:
            raise EnetError(f'cannot start ROS: {one_line(error)}') from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop ROS."""
        rclpy.try_shutdown()

    def figures(self) -> dict[str, object]:
        """Return the `live` figures of all recordings for `replay.report.build_report`."""
        return live_figures(self._plays) | ({'highest_rate_hz': self._highest_rate} if self._find_rate else {})

    def engine(self) -> dict[str, object]:
        """Return what the last node said about its engine, for the configuration in the report."""
        return self._engine

    def replay(
        self, frames: Frames, parameters: Mapping[str, object], progress: Callable[[int, int], object],
        outputs: Sequence[Callable[[SegmentedFrame], object]] = (),
    ) -> ReplayResult:
        """Play a recording, then compute the metrics of what came back.

        Args:
            frames: The recording.
            parameters: Parameters of the node, if one is started.
            progress: Called with the number of frames that are done and of all: first while they are played, then while
                their metrics are computed.
            outputs: Called with each frame that came back.

        Raises:
            EnetError: the recording cannot be used, the node does not start or stops, or an output fails.

        """
        with AnswerStore() as store:
            with ready_node(frames, self._node, parameters) as ready:
                self._engine = self._describe(ready)
                play = self._play(ready, frames, store, progress)
                if self._find_rate:
                    self._highest_rate = _find_rate(ready, frames)
            store.finish()
            self._plays.append(play)
            return self._evaluate(frames, store, play, progress, outputs)

    def _describe(self, node: ReplayNode) -> dict[str, object]:
        """Return what the node says about its engine, after a check that it runs the model."""
        values = node.idle.values
        if not self._model.sha256.startswith(values['model sha256']):
            raise EnetError(f'node {node.name} runs the model {values["model"]}, which is not {self._model.path}: '
                            'pass its file with --model')
        width, height = map(int, values['network size'].split('x'))
        engine = {key: values[key] for key in ('backend', 'precision', 'device')}
        return {**engine, 'width': width, 'height': height, **node.parameters}

    def _play(
        self, node: ReplayNode, frames: Frames, store: AnswerStore, progress: Callable[[int, int], object]
    ) -> LivePlay:
        client, process = node.client, node.process
        client.answered = store.add
        seen = len(client.statuses)
        start = late = 0.0
        first_seconds: float | None = None
        published, total = 0, frames.count
        used = process.cpu_seconds() if process else 0.0
        progress(0, total)
        with read_ahead(to_messages(frames, node.kind), _AHEAD) as messages:
            for index, seconds, message in messages:
                if first_seconds is None:
                    first_seconds, start = seconds, time.monotonic()
                due = start + (seconds - first_seconds) / self._rate
                time.sleep(max(0.0, due - time.monotonic()))
                if self._wait:
                    client.wait_for_answers(PATIENCE)
                node.check()
                if message is not None:
                    late = max(late, client.send(message, index) - due)
                    published += 1
                progress(index + 1, total)
        client.wait_for_answers(PATIENCE)
        used = process.cpu_seconds() - used if process else 0.0
        node.status()  # the counters after the last image
        memory = process.memory_mb()['peak'] if process else None
        latencies = [store.latencies[index] for index in sorted(store.latencies)]
        return LivePlay(published, latencies, node.idle, tuple(client.statuses[seen:]), max(0.0, store.last - start), late,
                        used if process else None, memory)

    def _evaluate(
        self, frames: Frames, store: AnswerStore, play: LivePlay, progress: Callable[[int, int], object],
        outputs: Sequence[Callable[[SegmentedFrame], object]],
    ) -> ReplayResult:
        counter, collector = CoverageCounter(frames.info.labels_topic), Collector(self._model.info.labels)
        dropped, total = 0, frames.count
        progress(0, total)
        for index, replayed in enumerate(frames):
            image = counter.decode(replayed)
            if image is not None and index in store.latencies:
                labels, confidence = store.read(index)
                if labels.shape != image.shape[:2]:
                    raise EnetError(f'labels of {labels.shape[1]}x{labels.shape[0]} came back for an image of '
                                    f'{image.shape[1]}x{image.shape[0]}: set output_size of the node to input')
                truth = counter.decode_truth(replayed, image.shape[:2])
                frame = SegmentedFrame(
                    replayed.frame.name, replayed.frame.seconds or 0.0, replayed.frame.stamp, image, labels, confidence,
                    truth, store.latencies[index])
                for output in (counter.add, collector.update, *outputs):
                    output(frame)
            elif image is not None:
                dropped += 1
            progress(index + 1, total)
        losses = list(frames.losses)
        if dropped:
            where = ', '.join(f'{count} {name}' for name, count in play.drops().items() if count) or 'none known'
            losses.append(f'{dropped} images came back without labels (dropped by place: {where})')
        timing = {'seconds': play.seconds, 'live': live_figures([play])}
        return collector.result(frames.info, counter.result(losses), timing)


def _full_name(node: str) -> str:
    name = node if node.startswith('/') else f'/{node}'
    try:
        validate_full_topic_name(name)  # topics in its namespace are used
    except NameValidationException as error:
        raise UsageError(f'{quoted(node)} cannot be the name of a node: use a name such as /enet') from error
    return name


def _find_rate(node: ReplayNode, frames: Frames) -> float | None:
    """Search the highest rate with the first images of the recording, again and again."""
    client = node.client
    usable = (message for _, _, message in to_messages(frames, node.kind) if message is not None)
    images = list(islice(usable, _TRIAL_IMAGES))

    def play(rate: float) -> Trial:
        answers: list[Answer] = []
        client.answered = answers.append
        start, sent = time.monotonic(), 0
        for message in cycle(images):
            if sent / rate >= _TRIAL_SECONDS or time.monotonic() - start > 2 * _TRIAL_SECONDS:
                break
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
            node.check()
            last = client.send(message, sent)
            sent += 1
        client.wait_for_answers(PATIENCE)
        achieved = (sent - 1) / (last - start) if sent > 1 else rate
        return Trial(achieved, 1 - len(answers) / sent)

    rate = highest_rate(play, 10.0)
    return None if rate is None else round(rate, 2)

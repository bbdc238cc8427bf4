"""The live mode of `enet replay`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from enet_ros.errors import EnetError
from enet_ros.network.model_file import ModelFile
from enet_ros.replay.exports import saving
from enet_ros.replay.job import BAG_FAILURES, Job, Outcome, failure
from enet_ros.replay.progress import ProgressBars
from enet_ros.replay.recording import open_recording


def replay_live(
    arguments: argparse.Namespace, jobs: Sequence[Job], model: ModelFile
) -> tuple[list[Outcome], dict[str, Any], dict[str, Any]]:
    """Play the bags, one after the other, to a node. Return their outcomes, the live figures, and the node's engine.

    Raises:
        EnetError: ROS 2 is missing or does not start.

    """
    try:  # not at the top: all else works without ROS
        from enet_ros.ros.live_replay import LiveReplay
    except ImportError as error:
        raise EnetError(f'--mode live needs ROS 2 ({error.name} is missing): source its setup file, or use --mode offline'
                        ) from error
    outcomes: list[Outcome] = []
    with ProgressBars(1) as bars, LiveReplay(
        model, arguments.node or '', rate=arguments.rate or 1.0, find_rate=arguments.find_rate
    ) as replay:
        for job in jobs:
            def show(done: int, total: int, name: str = job.path.name) -> None:
                bars.show(0, name, done, total)

            try:
                recording = open_recording(job.path, job.selection, job.class_map, model.info.labels)
                with saving(arguments.save_bag, arguments.video, model.info.labels, recording.rate) as outputs:
                    outcome = replay.replay(recording, _parameters(job), show, outputs)
                outcomes.append(outcome)  # only now: an output can fail at its end
            except BAG_FAILURES as error:
                outcomes.append(failure(error))
        return outcomes, replay.figures(), replay.engine()


def _parameters(job: Job) -> dict[str, object]:
    spec = job.spec
    return {
        'model': job.model, 'backend': spec.backend, 'precision': spec.precision, 'width': spec.width, 'height': spec.height,
        'threads': spec.threads, 'resize_mode': job.resize_mode,
    }

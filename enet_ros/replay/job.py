"""The replay of one bag as a task that any process or machine can do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError, one_line
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.replay.class_map import ClassMap
from enet_ros.replay.collector import Collector
from enet_ros.replay.exports import saving
from enet_ros.replay.offline import replay_offline
from enet_ros.replay.recording import Selection, open_recording
from enet_ros.replay.results import ReplayResult
from enet_ros.segmenter import Segmenter

Progress = Callable[[int, int], object]
"""Called with the number of frames that are done and of all: first with 0, then after each frame."""
Outcome = ReplayResult | EnetError
"""The result of a bag, or why there is none."""
MAXIMUM_SEGMENTERS = 8
"""Each needs memory. One thread reads for all of them, and one computes the metrics, about 2 ms for an image of 480x360."""
BAG_FAILURES = (EnetError, OSError, MemoryError)
"""What one bag can raise while the others can still be replayed."""


def failure(error: BaseException) -> EnetError:
    """Return one of `BAG_FAILURES` as the outcome of its bag."""
    return error if isinstance(error, EnetError) else EnetError(one_line(error))


@dataclass(frozen=True)
class Job:
    """A bag to replay, and how. It can be pickled."""

    path: Path
    selection: Selection
    class_map: ClassMap | None
    model: Path
    spec: EngineSpec
    """What `create_segmenters` makes the engines for. Neither `auto` nor 0, which could mean something else on another
    machine."""
    resize_mode: str


def replay_bag(
    job: Job, segmenters: Sequence[Segmenter], progress: Progress, save_bag: Path | None = None, video: Path | None = None
) -> ReplayResult:
    """Replay a bag offline. Also write its frames to an mcap file and a video, if they are given.

    Raises:
        EnetError: the bag cannot be read, or an output fails.

    """
    labels = segmenters[0].labels
    recording = open_recording(job.path, job.selection, job.class_map, labels)
    done, total = 0, recording.count

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    progress(0, total)
    with saving(save_bag, video, labels, recording.rate) as outputs:
        return replay_offline(recording, segmenters, Collector(labels), count, outputs)


def replay_job(job: Job, progress: Progress) -> ReplayResult:
    """Replay a bag with segmenters of this process, which the next job uses again if its model and engine are the same.

    Raises:
        EnetError: the bag or the model cannot be read, or the engine cannot be created.

    """
    return replay_bag(job, _segmenters(job.model, job.spec, job.resize_mode), progress)


@lru_cache(1)
def _segmenters(model: Path, spec: EngineSpec, resize_mode: str) -> list[Segmenter]:
    return create_segmenters(read_model(model), spec, resize_mode)


def create_segmenters(model: ModelFile, spec: EngineSpec, resize_mode: str) -> list[Segmenter]:
    """Return segmenters that share the CPU threads of `spec`: OpenVINO's have one each, another backend's has all.

    Several engines of one thread segment more images a second than one engine of several threads, which wait for each other
    after every layer. And since the threads of an engine can change the label of a pixel, those of `spec` do not.

    Raises:
        EnetError: the engine cannot be created, or the resize mode is unknown.

    """
    segmenter = Segmenter(model, spec, resize_mode=resize_mode)
    chosen = segmenter.engine.spec
    cores = len(os.sched_getaffinity(0))
    threads = min(chosen.threads or cores, cores, MAXIMUM_SEGMENTERS)
    if chosen.backend != 'openvino' or threads == 1:
        return [segmenter]
    return [Segmenter(model, replace(chosen, threads=1), resize_mode=resize_mode) for _ in range(threads)]

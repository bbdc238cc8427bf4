"""The replay of one bag as a task that any process or machine can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.network.model_file import read_model
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
BAG_FAILURES = (EnetError, OSError, MemoryError)
"""What one bag can raise while the others can still be replayed."""


@dataclass(frozen=True)
class Job:
    """A bag to replay, and how. It can be pickled."""

    path: Path
    selection: Selection
    class_map: ClassMap | None
    model: Path
    spec: EngineSpec
    """What the engine is made for. Neither `auto` nor 0, which could mean something else on another machine. Also not for
    `threads`: the results of single pixels can depend on them."""
    resize_mode: str


def replay_bag(
    job: Job, segmenter: Segmenter, progress: Progress, save_bag: Path | None = None, video: Path | None = None
) -> ReplayResult:
    """Replay a bag offline. Also write its frames to an mcap file and a video, if they are given.

    Raises:
        EnetError: the bag cannot be read, or an output fails.

    """
    recording = open_recording(job.path, job.selection, job.class_map, segmenter.labels)
    done, total = 0, recording.count

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    progress(0, total)
    with saving(save_bag, video, segmenter.labels, recording.rate) as outputs:
        return replay_offline(recording, segmenter, Collector(segmenter.labels), count, outputs)


def replay_job(job: Job, progress: Progress) -> ReplayResult:
    """Replay a bag with a segmenter of this process, which the next job uses again if its model and engine are the same.

    Raises:
        EnetError: the bag or the model cannot be read, or the engine cannot be created.

    """
    return replay_bag(job, _segmenter(job.model, job.spec, job.resize_mode), progress)


@lru_cache(1)
def _segmenter(model: Path, spec: EngineSpec, resize_mode: str) -> Segmenter:
    return Segmenter(read_model(model), spec, resize_mode=resize_mode)

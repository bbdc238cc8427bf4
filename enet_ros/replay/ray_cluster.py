"""Replay several bags at the same time on a Ray cluster: https://docs.ray.io."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from enet_ros.errors import EnetError, one_line
from enet_ros.replay.fingerprint import fingerprint
from enet_ros.replay.job import BAG_FAILURES, Job, Outcome, replay_job
from enet_ros.replay.progress import ProgressBars

_PATIENCE = 10.0
"""Seconds to wait for the cluster's answer."""


def replay_on_ray(jobs: Sequence[Job], address: str, bars: ProgressBars) -> list[Outcome]:
    """Replay each bag in a task of the cluster at `address`. Return the outcomes in the order of `jobs`.

    All machines need this package, and the bags and the model under the same paths. A task takes as many cores as its
    engine has threads. One that dies fails its bag and is not repeated.

    Raises:
        EnetError: Ray is not installed, or there is no cluster at `address`.

    """
    if find_spec('ray') is None:
        raise EnetError('--ray needs Ray: pip install ray')
    import ray  # optional, and slow to import

    host, colon, port = address.rpartition('://')[2].rpartition(':')
    try:
        if colon:  # Ray itself tries for many minutes, and cannot be interrupted
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise EnetError(f'cannot connect to Ray at {address}: {one_line(error)}; "ray start --head" starts one') from error
    try:
        largest = max((node['Resources'].get('CPU', 0) for node in ray.nodes() if node['Alive']), default=0)
        if not largest:
            raise EnetError(f'the Ray cluster at {address} has no CPU: start one with "ray start --num-cpus N"')
        task = ray.remote(max_retries=0)(_replay)
        running, model_digest = {}, fingerprint(jobs[0].model)
        for index, job in enumerate(jobs):
            job = replace(job, path=job.path.resolve(), model=job.model.resolve())
            cores = min(job.spec.threads, largest)  # a task that needs more than any machine has would wait for ever
            running[task.options(num_cpus=cores, name=job.path.name).remote(job, job.path.exists(), model_digest)] = index
        outcomes: dict[int, Outcome] = {}
        bars.show(0, 'bags', 0, len(jobs))
        while running:
            for reference in ray.wait(list(running))[0]:
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.RayError as error:
                    outcome = f'the Ray task that replayed it failed: {one_line(error)}'
                outcomes[running.pop(reference)] = EnetError(outcome) if isinstance(outcome, str) else outcome
                bars.show(0, 'bags', len(outcomes), len(jobs))
        return [outcomes[index] for index in range(len(jobs))]
    finally:
        ray.shutdown()


def _replay(job: Job, bag_exists: bool, model_digest: str) -> object:
    """Return the result of a bag, or the text of what is wrong with it.

    `bag_exists` and `model_digest` are what the machine that asks for it has: this one must have the same.
    """
    machine = socket.gethostname()
    for path in (job.path, job.model):
        if not path.exists() and (bag_exists or path == job.model):
            return f'{path} does not exist on machine {machine}: all machines of the cluster need it'
    try:
        if fingerprint(job.model) != model_digest:
            return f'{job.model} is another model on machine {machine}: copy it to all machines of the cluster'
        return replay_job(job, lambda done, total: None)
    except BAG_FAILURES as error:
        return one_line(error)

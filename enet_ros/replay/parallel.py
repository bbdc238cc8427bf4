"""Replay several bags at the same time in processes of this machine. One that dies does not take the others along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from enet_ros.errors import EnetError, one_line
from enet_ros.replay.job import BAG_FAILURES, Job, Outcome, replay_job
from enet_ros.replay.progress import ProgressBars
from enet_ros.replay.results import ReplayResult

_CONTEXT = multiprocessing.get_context('spawn')  # a forked process could not use the threads and the GPU of this one
_Message = tuple[int, int] | ReplayResult | str
"""What a process sends for a job: the arguments of `Progress`, and at the end the result or why there is none."""


def replay_parallel(jobs: Sequence[Job], processes: int, bars: ProgressBars) -> list[Outcome]:
    """Replay bags in up to `processes` processes. Return the outcomes in the order of `jobs`."""
    outcomes: dict[int, Outcome] = {}
    waiting = list(enumerate(jobs))[::-1]
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker()) for _ in range(min(processes, len(jobs)))]
        for worker in workers:
            worker.give(*waiting.pop())
        while busy := [worker for worker in workers if worker.job is not None]:
            ready = wait([worker.connection for worker in busy])
            for slot, worker in enumerate(workers):
                if worker.job is None or worker.connection not in ready:
                    continue
                message = worker.receive()
                if isinstance(message, tuple):
                    bars.show(slot, worker.job.path.name, *message)
                    continue
                outcomes[worker.index] = EnetError(message) if isinstance(message, str) else message
                if waiting:
                    worker.give(*waiting.pop())
                else:
                    worker.stop()
    return [outcomes[index] for index in range(len(jobs))]


class _Worker:
    """A process that replays one bag after the other. Leaving the context ends it."""

    connection: Connection

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self.job: Job | None = None
        self.index = -1

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def give(self, index: int, job: Job) -> None:
        """Hand over the job with this index, to a new process if there is none."""
        self.index, self.job = index, job
        if self._process is None:
            self.connection, other = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_work, args=(other,), daemon=True)
            # Ctrl-C reaches all processes of a terminal, but the first one ends the others: they inherit the blocked signal
            resource_tracker.ensure_running()  # otherwise start() does it, and unblocks the signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            other.close()  # the process has a copy: when it dies, `receive` must find the end
        with suppress(OSError):  # it is dead, which `receive` reports
            self.connection.send(job)

    def receive(self) -> _Message:
        """Return the next message; if the process died, why there is no result."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            assert self._process is not None
            self._process.join()
            code = self._process.exitcode or 0
            self._process = None
            how = f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit code {code}'
            return f'the process that replayed it {how}'

    def stop(self) -> None:
        """End the process."""
        self.job = None
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None


def _work(connection: Connection) -> None:
    """Replay what comes from `connection` until this process is terminated or the other one is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job: Job = connection.recv()
            outcome: ReplayResult | str
            try:
                outcome = replay_job(job, lambda done, total: connection.send((done, total)))
            except BrokenPipeError:
                raise
            except BAG_FAILURES as error:
                outcome = one_line(error)
            connection.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)  # the connection would only be noticed after the next frame

"""A thread of its own for objects that must be created and released away from threads that handle signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar('Result')


class OwnerThread:
    """Runs functions one after the other on one daemon thread, which is started by the first of them.

    Not a ThreadPoolExecutor: that refuses work while the interpreter shuts down, when the last objects are released.
    """

    def __init__(self, name: str) -> None:
        """Name the thread `name`."""
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._started = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns on the thread, or raise what it raises."""
        if threading.current_thread() is self._thread:  # garbage collection may release an object on any thread
            return work()
        with self._started:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        future: Future[Result] = Future()
        self._jobs.put((work, future))
        return future.result()

    def _run(self) -> None:
        while True:
            _run_job(*self._jobs.get())


def _run_job(work: Callable[[], Any], future: Future[Any]) -> None:
    # a function of its own: its variables must not keep `work` and the result alive while the thread waits for the next job
    try:
        future.set_result(work())
    except BaseException as error:  # raised again in the calling thread
        future.set_exception(error)

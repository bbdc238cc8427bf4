"""A thread of its own for objects that must be created and released away from threads that handle signals."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar('Result')

_FAULTS = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
"""Signals that a thread sends to itself by what it does. Blocking them would only hide where a crash happened."""


class OwnerThread:
    """Runs functions one after the other on one daemon thread, on which no signal handler ever runs.

    Not a ThreadPoolExecutor: that refuses work while the interpreter shuts down, when the last objects are released.
    """

    def __init__(self, name: str) -> None:
        """Name the thread `name`. The first call starts it."""
        self._name = name
        self._thread: threading.Thread | None = None
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # a forked process has only the thread that forked

    def call(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns on the thread, or raise what it raises.

        When the wait is interrupted (KeyboardInterrupt), the thread finishes `work` first. Have `work` store what must not
        be released on another thread, instead of returning it.
        """
        if threading.current_thread() is self._thread:  # garbage collection may release an object on any thread
            return work()
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        future: Future[Result] = Future()
        self._jobs.put((work, future))
        try:
            return future.result()
        except BaseException:
            wait((future,))  # the caller may end the process now, which crashes while a runtime works on this thread
            raise
        finally:
            del future  # an exception holds this frame: the frame must not hold the exception

    def _reset(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._starting = threading.RLock()  # garbage collection may call `call` inside it
        self._thread = None

    def _run(self) -> None:
        # the kernel may choose any thread of a process for a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        jobs = self._jobs
        while True:
            _run_job(*jobs.get())


def _run_job(work: Callable[[], Any], future: Future[Any]) -> None:
    # a function of its own: its variables must not keep `work` and the result alive while the thread waits for the next job
    try:
        future.set_result(work())
    except BaseException as error:  # raised again in the calling thread
        traceback.clear_frames(error.__traceback__)  # what `work` had created must be released here
        future.set_exception(error)

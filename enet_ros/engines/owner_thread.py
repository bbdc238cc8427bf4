"""A thread of its own for objects that must be created and released away from threads that handle signals."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Result = TypeVar('Result')
_Outcome = list[tuple[Any, BaseException | None]]
"""Empty until the work has finished, then its result or what it raised."""
_Job = tuple[Callable[[], Any], _Outcome, 'SimpleQueue[None]']

_FAULTS = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
"""Signals that a thread sends to itself by what it does. Blocking them would only hide where a crash happened."""


class OwnerThread:
    """Runs functions one after the other on one daemon thread, on which no signal handler ever runs.

    Not a ThreadPoolExecutor: that refuses work while the interpreter shuts down, when the last objects are released. Not a
    Future: an interrupt inside its lock, which is taken in Python code, would leave it locked and the thread waiting for it.
    """

    def __init__(self, name: str) -> None:
        """Name the thread `name`. The first call starts it."""
        self._name = name
        self._started = False
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # a forked process has only the thread that forked

    def call(self, work: Callable[[], Result], timeout: float | None = None) -> Result:
        """Return what `work` returns on the thread, or raise what it raises.

        When the wait is interrupted (KeyboardInterrupt), the thread finishes `work` first. Have `work` store what must not
        be released on another thread, instead of returning it.

        Raises:
            TimeoutError: `work` has not finished after `timeout` seconds. The thread still runs it.

        """
        if threading.get_ident() == self._ident:  # garbage collection may release an object on any thread
            return work()
        with self._starting:
            if not self._started:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._started = True
        outcome: _Outcome = []
        finished: SimpleQueue[None] = SimpleQueue()
        try:
            self._jobs.put((work, outcome, finished))  # in the block: the interrupt may come as soon as the work is put
            finished.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f'{self._name} has not finished after {timeout} s') from None
        except KeyboardInterrupt:
            # the caller may end the process now, which crashes while a runtime works on this thread
            if not outcome:  # otherwise the interrupt came after `get`, and a second one would wait for ever
                finished.get()
            raise
        result, error = outcome.pop()
        try:
            if error is not None:
                raise error
            return result
        finally:
            del error, result  # an exception holds this frame: the frame must not hold the exception

    def _reset(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._starting = threading.RLock()  # garbage collection may call `call` inside it
        self._started = False
        self._ident: int | None = None

    def _run(self) -> None:
        self._ident = threading.get_ident()
        # the kernel may choose any thread of a process for a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        jobs = self._jobs
        while True:
            _run_job(*jobs.get())


def _run_job(work: Callable[[], Any], outcome: _Outcome, finished: SimpleQueue[None]) -> None:
    # a function of its own: its variables must not keep `work` and the result alive while the thread waits for the next job
    try:
        outcome.append((work(), None))
    except BaseException as error:  # raised again in the calling thread
        traceback.clear_frames(error.__traceback__)  # what `work` had created must be released here
        outcome.append((None, error))
    finished.put(None)

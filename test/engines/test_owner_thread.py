from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref

import pytest

from enet_ros.engines.owner_thread import OwnerThread


class Thing:
    """Something that weak references can watch."""


def test_functions_run_one_after_the_other_on_one_other_thread() -> None:
    owner = OwnerThread('owner')
    order: list[tuple[int, threading.Thread]] = []
    callers = [
        threading.Thread(target=owner.call, args=(lambda number=number: order.append((number, threading.current_thread())),))
        for number in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(number for number, _ in order) == list(range(20))
    (thread,) = {thread for _, thread in order}
    assert thread not in callers and thread is not threading.main_thread() and thread.name == 'owner'


def test_results_and_exceptions_reach_the_caller() -> None:
    owner = OwnerThread('owner')
    assert owner.call(lambda: 3) == 3
    for error in (ValueError, SystemExit):
        with pytest.raises(error):
            owner.call(lambda error=error: exec('raise error', {'error': error}))
    assert owner.call(lambda: 4) == 4


def test_a_call_on_the_thread_itself_does_not_wait_for_itself() -> None:
    owner = OwnerThread('owner')
    assert owner.call(lambda: owner.call(threading.current_thread)).name == 'owner'


def test_neither_results_nor_failed_work_stay_alive() -> None:
    owner = OwnerThread('owner')
    gc.disable()  # reference counting must be enough
    try:
        result = owner.call(Thing)
        watched = weakref.ref(result)
        del result
        assert watched() is None
        created: list[weakref.ref[Thing]] = []

        def fail() -> None:
            thing = Thing()
            created.append(weakref.ref(thing))
            raise ValueError

        with pytest.raises(ValueError) as caught:
            owner.call(fail)
        # released on the thread, although the exception still has the frame of `fail`
        assert caught.value.__traceback__ and created[0]() is None
    finally:
        gc.enable()


def test_the_thread_blocks_every_signal_that_a_handler_could_get() -> None:
    blocked = OwnerThread('owner').call(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD} <= blocked
    assert signal.SIGSEGV not in blocked


def test_it_works_again_in_a_forked_process() -> None:
    # in its own process: the test's own may have threads that a fork would break
    script = """
import os
from enet_ros.engines.owner_thread import OwnerThread
owner = OwnerThread('owner')
owner.call(int)
child = os.fork()
if not child:
    os._exit(owner.call(lambda: 7))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.stdout == '7\n', done.stderr


def test_an_interrupted_call_waits_for_its_job() -> None:
    script = """
import os, signal, threading, time
from enet_ros.engines.owner_thread import OwnerThread
interrupted = threading.Event()
done = []

def interrupt(*_):
    interrupted.set()
    raise KeyboardInterrupt

def work():
    os.kill(os.getpid(), signal.SIGINT)
    interrupted.wait()
    time.sleep(0.3)  # a runtime that still works when the interrupt comes
    done.append(True)

signal.signal(signal.SIGINT, interrupt)
owner = OwnerThread('owner')
try:
    owner.call(work)
except KeyboardInterrupt:
    print(done, owner.call(lambda: 'usable'))
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.stdout == '[True] usable\n', done.stderr


def test_a_call_with_a_timeout_gives_up_and_leaves_the_thread_usable() -> None:
    owner = OwnerThread('owner')
    finish = threading.Event()
    with pytest.raises(TimeoutError, match='owner'):
        owner.call(finish.wait, timeout=0.05)
    finish.set()
    assert owner.call(lambda: 'usable') == 'usable'

"""Threads that read ahead and work for the calling thread, in order and with a bounded number of items in between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


class _Channel(Generic[Item]):
    """Passes items from one thread to another.

    Not a queue.Queue: that takes its locks in Python code, where an interrupt could leave them locked.
    """

    def __init__(self, size: int) -> None:
        """Let the sender be ahead by `size` items."""
        self._items: SimpleQueue[tuple[Item] | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._room.put(None)
        self.stopped = False
        self.error: BaseException | None = None

    def send(self, item: Item) -> bool:
        """Wait for room and send an item. Return False instead if a side has stopped."""
        self._room.get()
        if self.stopped:
            return False
        self._items.put((item,))
        return True

    def finish(self) -> None:
        """End the iteration of the receiver after the items sent so far."""
        self._items.put(None)

    def stop(self) -> None:
        """Drop what is on the way, and let neither side wait."""
        self.stopped = True
        self._room.put(None)
        self._items.put(None)

    def __iter__(self) -> Iterator[Item]:
        """Yield the items as they come."""
        while (entry := self._items.get()) is not None and not self.stopped:
            self._room.put(None)
            yield entry[0]


@contextmanager
def read_ahead(items: Iterable[Item], size: int) -> Iterator[Iterator[Item]]:
    """Yield an iterator over `items`, which another thread iterates up to `size` items ahead.

    What `items` raises is raised by the iterator, after the items before it. Leaving the block ends the thread after the
    item that it works on.
    """
    channel: _Channel[Item] = _Channel(size)

    def read() -> None:
        try:
            for item in items:
                if not channel.send(item):
                    return
        except BaseException as error:  # raised again in the calling thread
            channel.error = error
        channel.finish()

    def received() -> Iterator[Item]:
        yield from channel
        if channel.error:
            raise channel.error

    # a daemon: a second interrupt while it is joined must not keep the process from ending
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield received()
    finally:
        channel.stop()
        thread.join()


@contextmanager
def map_in_order(works: Sequence[Callable[[Item], Result]], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Yield an iterator over the results of `items`, in the order of `items`.

    An item goes to whichever of `works` is idle. Each runs on another thread, one item at a time. At most two items for each
    are on the way. What a work raises is raised by the iterator, in the place of the result. Leaving the block waits for the
    items that are worked on and drops the others.
    """
    idle: SimpleQueue[Callable[[Item], Result]] = SimpleQueue()
    for work in works:
        idle.put(work)

    def call(item: Item) -> Result:
        work = idle.get()
        try:
            return work(item)
        finally:
            idle.put(work)

    def results() -> Iterator[Result]:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(call, item))
            if len(pending) == 2 * len(works):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    pool = ThreadPoolExecutor(len(works))
    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)

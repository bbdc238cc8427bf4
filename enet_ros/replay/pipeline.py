"""Threads that work before and after the calling thread, in order and with a bounded number of items in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar('Item')


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

    with _running(read, channel):
        yield received()


@contextmanager
def work_behind(work: Callable[[Item], object], size: int) -> Iterator[Callable[[Item], None]]:
    """Yield a function that hands an item to `work` on another thread, and waits while `size` items are on the way.

    The end of the block waits until all items are done. What `work` raises is raised by the next call of the function or at
    the end of the block. After an exception in the block, items on the way are dropped.
    """
    channel: _Channel[Item] = _Channel(size)

    def work_on_all() -> None:
        try:
            for item in channel:
                work(item)
        except BaseException as error:  # likewise
            channel.error = error
            channel.stop()

    def send(item: Item) -> None:
        if not channel.send(item) and channel.error:
            raise channel.error

    with _running(work_on_all, channel) as thread:
        yield send
        channel.finish()
        thread.join()
        if channel.error:
            raise channel.error


@contextmanager
def _running(work: Callable[[], None], channel: _Channel[Item]) -> Iterator[threading.Thread]:
    # a daemon: a second interrupt while it is joined must not keep the process from ending
    thread = threading.Thread(target=work, name=work.__name__, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        channel.stop()
        thread.join()

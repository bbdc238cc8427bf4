from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from enet_ros.replay.pipeline import read_ahead, work_behind


def counted(limit: int, started: list[int]) -> Iterator[int]:
    for number in range(limit):
        started.append(number)
        yield number


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_items_come_in_order_from_another_thread() -> None:
    def idents() -> Iterator[tuple[int, int]]:
        for number in range(100):
            yield number, threading.get_ident()

    with read_ahead(idents(), 3) as items:
        received = list(items)
    assert [number for number, _ in received] == list(range(100))
    assert {ident for _, ident in received}.isdisjoint({threading.get_ident()})


def test_reading_ahead_is_bounded_and_ends_with_the_block() -> None:
    started: list[int] = []
    with read_ahead(counted(1000, started), 3) as items:
        for number in items:
            assert len(started) <= number + 1 + 3 + 1  # received, on the way, and the one that waits for room
            if number == 20:
                break
    assert len(started) < 30


def test_an_error_while_reading_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise ValueError('damaged')

    received = []
    with pytest.raises(ValueError, match='damaged'), read_ahead(broken(), 2) as items:
        for item in items:
            received.append(item)
    assert received == list(range(5))


def test_work_is_done_in_order_before_the_block_ends() -> None:
    done: list[int] = []
    with work_behind(done.append, 2) as send:
        for number in range(50):
            send(number)
    assert done == list(range(50))


@pytest.mark.parametrize('items', [1, 100], ids=['at the end', 'while items are sent'])
def test_an_error_of_the_work_is_raised(items: int) -> None:
    def fail(number: int) -> None:
        raise ValueError(f'item {number}')

    with pytest.raises(ValueError, match='item 0'), work_behind(fail, 2) as send:
        for number in range(items):
            send(number)


def test_an_interrupt_drops_what_is_on_the_way() -> None:
    done: list[int] = []
    may_work = threading.Event()

    def work(number: int) -> None:
        may_work.wait(10)
        done.append(number)

    with pytest.raises(KeyboardInterrupt), read_ahead(counted(1000, []), 4) as items, work_behind(work, 4) as send:
        for number in items:
            send(number)
            if number == 3:
                threading.Timer(0.2, may_work.set).start()
                raise KeyboardInterrupt
    assert done == [0]

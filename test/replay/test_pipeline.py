from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from enet_ros.replay.pipeline import map_in_order, read_ahead


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


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> tuple[int, int]:
        if number == 0:
            assert first_may_end.wait(10)
        if number == 2:
            first_may_end.set()  # so the other thread has gone on
        return number, threading.get_ident()

    with map_in_order([work, work], range(50)) as results:
        done = list(results)
    assert [number for number, _ in done] == list(range(50))
    assert len({ident for _, ident in done} - {threading.get_ident()}) == 2


def test_each_work_has_one_item_at_a_time_and_what_is_on_the_way_is_bounded() -> None:
    started: list[int] = []
    busy = [threading.Lock(), threading.Lock()]

    def work(lock: threading.Lock, number: int) -> int:
        assert lock.acquire(blocking=False)
        time.sleep(0.001)
        lock.release()
        return number

    with map_in_order([partial(work, lock) for lock in busy], counted(100, started)) as results:
        for number in results:
            assert len(started) <= number + 4
    assert len(started) == 100


@pytest.mark.parametrize('items', [1, 100], ids=['at the end', 'while items are sent'])
def test_an_error_of_the_work_is_raised_in_the_place_of_its_result(items: int) -> None:
    def fail(number: int) -> int:
        if number == items - 1:
            raise ValueError(f'item {number}')
        return number

    received = []
    with pytest.raises(ValueError, match=f'item {items - 1}'), map_in_order([fail, fail], range(200)) as results:
        for number in results:
            received.append(number)
    assert received == list(range(items - 1))


def test_an_interrupt_drops_what_is_on_the_way() -> None:
    done: list[int] = []
    may_work = threading.Event()

    def work(number: int) -> int:
        if number >= 2:
            may_work.wait(10)
        done.append(number)
        return number

    with (pytest.raises(KeyboardInterrupt), read_ahead(counted(1000, []), 4) as items,
          map_in_order([work, work], items) as results):
        for number in results:
            if number == 1:
                threading.Timer(0.2, may_work.set).start()
                raise KeyboardInterrupt
    assert len(done) <= 4

"""The one thread that uses a SQLite connection: calls get there and back, or not at all."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from remit.db.sqlite.connection_thread import ConnectionThread

NAME = "remit-connection-under-test"


@pytest.fixture
def connection_thread() -> Iterator[ConnectionThread]:
    connection_thread = ConnectionThread(NAME)
    yield connection_thread
    connection_thread.close()


def threads_under_test() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


async def test_calls_run_in_order_in_one_thread(connection_thread: ConnectionThread) -> None:
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(connection_thread.call(partial(work, number)) for number in range(100)))
    assert seen == list(range(100))
    assert set(threads) == {thread.ident for thread in threads_under_test()}


async def test_what_a_call_raises_reaches_its_caller_and_the_next_one_runs(connection_thread: ConnectionThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await connection_thread.call(lambda: 1 // 0)
    assert await connection_thread.call(lambda: 1) == 1


async def test_a_call_that_is_cancelled_before_it_begins_is_left_out(connection_thread: ConnectionThread) -> None:
    gate = threading.Event()
    ran: list[str] = []
    first = connection_thread.call(gate.wait)
    second = connection_thread.call(partial(ran.append, "second"))
    second.cancel()
    gate.set()
    await first
    await connection_thread.call(partial(ran.append, "third"))
    assert ran == ["third"]


async def test_a_call_that_is_cancelled_while_it_runs_ends_and_nobody_hears_of_it(
    connection_thread: ConnectionThread,
) -> None:
    begun, gate = threading.Event(), threading.Event()
    ran: list[str] = []

    def work() -> None:
        begun.set()
        gate.wait()
        ran.append("all of it")
        raise ValueError

    call = connection_thread.call(work)
    await asyncio.to_thread(begun.wait)
    call.cancel()
    gate.set()
    await connection_thread.call(lambda: None)
    assert ran == ["all of it"]


def test_a_loop_that_has_closed_meanwhile_does_not_end_the_thread(connection_thread: ConnectionThread) -> None:
    gate = threading.Event()

    async def leave() -> None:
        _ = connection_thread.call(gate.wait)

    async def again() -> int:
        return await connection_thread.call(lambda: 7)

    asyncio.run(leave())
    gate.set()
    assert asyncio.run(again()) == 7


async def test_the_thread_ends_after_its_calls_when_closed() -> None:
    before = set(threads_under_test())  # of another test, which is just ending
    connection_thread = ConnectionThread(NAME)
    last = connection_thread.call(lambda: 7)
    [thread] = set(threads_under_test()) - before
    connection_thread.close()
    assert await last == 7
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_the_thread_ends_when_its_owner_forgot_to_close_it() -> None:
    before = set(threads_under_test())
    connection_thread = ConnectionThread(NAME)
    await connection_thread.call(lambda: None)
    [thread] = set(threads_under_test()) - before
    del connection_thread
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()

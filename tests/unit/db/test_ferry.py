"""The one thread that uses a SQLite connection: calls get there and back, or not at all."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from remit.db.sqlite.ferry import Ferry

NAME = "remit-ferry-under-test"


@pytest.fixture
def ferry() -> Iterator[Ferry]:
    ferry = Ferry(NAME)
    yield ferry
    ferry.close()


def crew() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


async def test_calls_run_in_order_in_one_thread(ferry: Ferry) -> None:
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(ferry.call(partial(work, number)) for number in range(100)))
    assert seen == list(range(100))
    assert set(threads) == {thread.ident for thread in crew()}


async def test_what_a_call_raises_reaches_its_caller_and_the_next_one_runs(ferry: Ferry) -> None:
    with pytest.raises(ZeroDivisionError):
        await ferry.call(lambda: 1 // 0)
    assert await ferry.call(lambda: 1) == 1


async def test_a_call_that_is_cancelled_before_it_begins_is_left_out(ferry: Ferry) -> None:
    gate = threading.Event()
    ran: list[str] = []
    first = ferry.call(gate.wait)
    second = ferry.call(partial(ran.append, "second"))
    second.cancel()
    gate.set()
    await first
    await ferry.call(partial(ran.append, "third"))
    assert ran == ["third"]


async def test_a_call_that_is_cancelled_while_it_runs_ends_and_nobody_hears_of_it(ferry: Ferry) -> None:
    begun, gate = threading.Event(), threading.Event()
    ran: list[str] = []

    def work() -> None:
        begun.set()
        gate.wait()
        ran.append("all of it")
        raise ValueError

    call = ferry.call(work)
    await asyncio.to_thread(begun.wait)
    call.cancel()
    gate.set()
    await ferry.call(lambda: None)
    assert ran == ["all of it"]


def test_a_loop_that_has_closed_meanwhile_does_not_end_the_thread(ferry: Ferry) -> None:
    gate = threading.Event()

    async def leave() -> None:
        _ = ferry.call(gate.wait)

    async def again() -> int:
        return await ferry.call(lambda: 7)

    asyncio.run(leave())
    gate.set()
    assert asyncio.run(again()) == 7


async def test_the_thread_ends_after_its_calls_when_closed() -> None:
    before = set(crew())  # of another test, which is just ending
    ferry = Ferry(NAME)
    last = ferry.call(lambda: 7)
    [thread] = set(crew()) - before
    ferry.close()
    assert await last == 7
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_the_thread_ends_when_its_owner_forgot_to_close_it() -> None:
    before = set(crew())
    ferry = Ferry(NAME)
    await ferry.call(lambda: None)
    [thread] = set(crew()) - before
    del ferry
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()

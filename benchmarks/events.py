"""What is measured of events: what a publish costs, how fast they are fanned out, and how soon a handler has them."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.contenders.contender import SUBSCRIPTIONS, Publisher, Spent
from benchmarks.ledger import Ledger
from benchmarks.setting import FIRST_JOB, FIRST_OF_TURN, GAP, TURN, WARM_UP, Figures, Setting, latencies
from benchmarks.worker import WorkerProcess

PER_TURN = 25
"""Transactions of one driver in a turn: a tenth of a second."""
ALONE, MANY = 200, 10_000
"""Events that are published without a caller's transaction: one by one, and in numbers."""
BACKLOG = 20_000
LOG_BACKLOG, LOG_TURNS = 4_000, 7
LONGEST = 180.0


async def publish(setting: Setting[Publisher]) -> Figures:
    """One event in a caller's transaction, in which nothing else happens; and events without any. Microseconds each.

    The sides of a store take short turns.
    """
    publisher = setting.contender
    await publisher.open()
    for way in publisher.ways:
        for number in range(20):
            await publisher.publish(way, WARM_UP + number)
    setting.places.settle(publisher.url)
    figures: Figures = {}
    for way in publisher.ways:
        spent: list[Spent] = []
        while len(spent) < 2 * setting.samples:
            async with setting.turn:
                spent += [await publisher.publish(way, number) for number in range(PER_TURN)]
        figures[way] = statistics.median(one.transaction for one in spent) * 1e6
        figures[f"{way}, call"] = statistics.median(one.call for one in spent) * 1e6
    for way in publisher.own_ways:
        n = ALONE if way == "one" else setting.n or MANY
        numbers = range(n)
        await publisher.publish_by_itself(way, range(WARM_UP, WARM_UP + 5))
        async with setting.turn:
            begun = time.perf_counter()
            await publisher.publish_by_itself(way, numbers)
            figures[way] = (time.perf_counter() - begun) / n * 1e6
    await publisher.close()
    return figures


async def fan_out(setting: Setting[Publisher]) -> Figures:
    """A backlog of events, committed at once, to five subscriptions that nobody works for: until all deliveries are
    there; deliveries a second.
    """
    publisher, ledger = setting.contender, setting.ledger()
    n = setting.n or BACKLOG
    with setting.worker(ledger) as worker:
        await publisher.open()
        await _dispatch(publisher, 100, worker.check)
        setting.places.settle(publisher.url)
        took = await _dispatch(publisher, n, worker.check)
        await publisher.close()
    return {"rate": n * SUBSCRIPTIONS / took, "n": n}


async def event_latency(setting: Setting[Publisher]) -> Figures:
    """From before the commit of an event to the handler's first line, while nothing else happens."""
    publisher, ledger = setting.contender, setting.ledger()
    sent: dict[int, float] = {}
    with setting.worker(ledger) as worker:
        await publisher.open()
        async with setting.turn:
            await _warm_up(publisher, ledger, worker)
            await asyncio.sleep(setting.settling)
        for first in range(0, setting.samples, TURN):
            async with setting.turn:
                await _ping(publisher, ledger, worker, range(first, min(first + TURN, setting.samples)), sent)
        await publisher.close()
        return latencies(ledger, sent)


async def log(setting: Setting[Publisher]) -> Figures:
    """Fan-out, and latency while idle, with a log that holds nothing old, and with one that does; in turns."""
    publisher, ledger = setting.contender, setting.ledger()
    sent: dict[int, float] = {}
    rates: list[float] = []
    n = setting.n or LOG_BACKLOG
    async with setting.turn:  # nobody measures beside so long a transaction: what is dead could not be cleared away
        if publisher.old:
            await asyncio.to_thread(publisher.age, publisher.old if setting.old is None else setting.old)
        setting.places.settle(publisher.url)
    with setting.worker(ledger) as worker:
        for block in range(LOG_TURNS + 1):  # the first is not counted
            async with setting.turn:
                await publisher.open()
                await _warm_up(publisher, ledger, worker)
                took = await _dispatch(publisher, n, worker.check)
                await asyncio.sleep(setting.settling)
                first = block * TURN
                counted: dict[int, float] = sent if block else {}
                await _ping(publisher, ledger, worker, range(first, first + TURN), counted)
                await publisher.close()
                rates += [n * SUBSCRIPTIONS / took] if block else []
    return {"rate": statistics.median(rates), **latencies(ledger, sent)}


async def rail_loss(setting: Setting[Publisher]) -> Figures:
    """What a producer loses by the direct rail when it is killed: how many events, and from how far back.

    They are written in the order in which they were taken, so what is lost is the end.
    """
    publisher, ledger = setting.contender, setting.ledger()
    with setting.worker(ledger) as producer:
        await ledger.reach(1, alive=producer.check, seconds=FIRST_JOB)
        await asyncio.sleep(setting.seconds / 5)
        producer.kill()
    taken, written = ledger.read(), publisher.undispatched().number
    lost = taken[written:]
    window = (taken[-1][1] - lost[0][1]) * 1e3 if lost else 0.0
    return {"window": window, "lost": len(lost), "taken": len(taken)}


async def _dispatch(publisher: Publisher, n: int, alive: Callable[[], None]) -> float:
    """Publish so many events in one commit; the seconds from there until the deliveries of all of them are there."""
    before = publisher.deliveries().number
    committed = await publisher.load(range(n))
    end = time.monotonic() + LONGEST
    while (left := await asyncio.to_thread(publisher.undispatched)).number:
        alive()
        if time.monotonic() > end:
            raise TimeoutError(f"{left.number} of {n} events were not fanned out within {LONGEST:g} s")
        await asyncio.sleep(0.002)
    if (made := publisher.deliveries().number - before) != n * SUBSCRIPTIONS:
        raise AssertionError(f"{n} events, {made} deliveries")
    return left.asked - committed


async def _warm_up(publisher: Publisher, ledger: Ledger, worker: WorkerProcess) -> None:
    seconds = FIRST_JOB
    for number in range(20):
        before = len(ledger)
        await publisher.ping(WARM_UP + number)
        await ledger.reach(before + 1, alive=worker.check, seconds=seconds)
        seconds = 20


async def _ping(
    publisher: Publisher, ledger: Ledger, worker: WorkerProcess, numbers: range, sent: dict[int, float]
) -> None:
    for number in [*[WARM_UP] * FIRST_OF_TURN, *numbers]:
        before = len(ledger)
        committed = await publisher.ping(number)
        await ledger.reach(before + 1, alive=worker.check, seconds=20)
        if number != WARM_UP:
            sent[number] = committed
        await asyncio.sleep(random.uniform(*GAP))

"""What is measured, and how: one coroutine a measure, the same for every contender."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import psutil

from benchmarks.contenders.contender import Contender, Measure
from benchmarks.events import event_latency, fan_out, log, publish, rail_loss
from benchmarks.ledger import Ledger
from benchmarks.setting import (
    FIRST_JOB,
    FIRST_OF_TURN,
    GAP,
    LAST_JOB,
    TURN,
    WARM_UP,
    Figures,
    Setting,
    chunks,
    latencies,
)
from benchmarks.worker import WorkerProcess


async def enqueue(setting: Setting[Contender]) -> Figures:
    """Jobs sent one by one, each in its own transaction, by one client; a second."""
    contender = setting.contender
    n = setting.n or contender.enqueue_n
    await contender.open()
    for number in range(50):
        await contender.enqueue(WARM_UP + number)
    setting.places.settle(contender.url)
    begun = time.perf_counter()
    for number in range(n):
        await contender.enqueue(number)
    took = time.perf_counter() - begun
    await contender.close()
    return {"rate": n / took, "n": n}


async def bulk(setting: Setting[Contender]) -> Figures:
    """Jobs sent in chunks, by one client; a second."""
    contender = setting.contender
    n = setting.n or contender.bulk_n
    await contender.open()
    await contender.enqueue_many(range(WARM_UP, WARM_UP + 10))
    setting.places.settle(contender.url)
    begun = time.perf_counter()
    for chunk in chunks(n):
        await contender.enqueue_many(chunk)
    took = time.perf_counter() - begun
    await contender.close()
    return {"rate": n / took, "n": n}


async def drain(setting: Setting[Contender]) -> Figures:
    """A backlog of no-op jobs, from the first handler's first line until the store holds all for done; a second."""
    contender = setting.contender
    n = setting.n or contender.drain_n
    await contender.open()
    for chunk in chunks(n):
        await contender.enqueue_many(chunk)
    await contender.close()
    setting.places.settle(contender.url)
    ledger = setting.ledger()
    with setting.worker(ledger) as worker:
        await ledger.reach(1, alive=worker.check, seconds=FIRST_JOB)
        peak = _Peak(worker)
        await ledger.reach(n, alive=peak.check, seconds=LAST_JOB, step=0.005)
        ended = await _all_done(contender)
        runs = ledger.read()
    numbers = {number for number, _ in runs}
    if len(numbers) != n or len(runs) != n:
        raise AssertionError(f"{n} jobs, of which {len(numbers)} ran, in {len(runs)} runs")
    first, last = min(at for _, at in runs), max(at for _, at in runs)
    return {"rate": n / (max(last, ended) - first), "peak_rss": peak.megabytes, "n": n}


class _Peak:
    """The most memory that a worker was seen to use, looked at ten times a second."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._next = 0.0
        self.megabytes = 0.0
        self.check()

    def check(self) -> None:
        self._worker.check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            used = sum(process.memory_info().rss for process in self._worker.processes())
            self.megabytes = max(self.megabytes, used / 1e6)


async def _all_done(contender: Contender) -> float:
    """When it was first seen that the store holds everything for done."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        unfinished = await asyncio.to_thread(contender.unfinished)
        if unfinished.number == 0:
            return unfinished.asked
        await asyncio.sleep(0.005)
    raise TimeoutError("the store did not hold all jobs for done 30 s after the last handler began")


async def idle_latency(setting: Setting[Contender]) -> Figures:
    """From before the enqueue call to the handler's first line, while nothing else happens.

    The contenders of a store take turns of half a second, which is shorter than the noise of a shared machine lasts.
    """
    contender, ledger = setting.contender, setting.ledger()
    sent: dict[int, float] = {}
    with setting.worker(ledger) as worker:
        async with setting.turn:
            await _warm_up(setting, ledger, worker)
        for first in range(0, setting.samples, TURN):
            async with setting.turn:
                for number in range(first - FIRST_OF_TURN, min(first + TURN, setting.samples)):
                    before = len(ledger)
                    begun = time.time()
                    await contender.enqueue(number if number >= first else WARM_UP)
                    await ledger.reach(before + 1, alive=worker.check, seconds=20)
                    if number >= first:
                        sent[number] = begun
                    await asyncio.sleep(random.uniform(*GAP))
        await contender.close()
        return latencies(ledger, sent)


async def busy_latency(setting: Setting[Contender]) -> Figures:
    """The same, at a steady rate that leaves the system mostly idle."""
    contender, ledger = setting.contender, setting.ledger()
    sent: dict[int, float] = {}
    n = int(setting.rate * setting.seconds)
    with setting.worker(ledger) as worker:
        await _warm_up(setting, ledger, worker)
        before = len(ledger)
        begun = time.time()
        for number in range(n):
            early = begun + number / setting.rate - time.time()
            if early > 0:
                await asyncio.sleep(early)
            sent[number] = time.time()
            await contender.enqueue(number)
        offered = n / (time.time() - begun)
        await ledger.reach(before + n, alive=worker.check, seconds=20, step=0.01)
        await contender.close()
        return latencies(ledger, sent) | {"offered": offered}


async def footprint(setting: Setting[Contender]) -> Figures:
    """Memory, and processor time of an idle worker and of its server, in percent of one core."""
    contender, ledger = setting.contender, setting.ledger()
    with setting.worker(ledger) as worker:
        await _warm_up(setting, ledger, worker)
        await contender.close()
        await asyncio.sleep(setting.settling)
        own, server = worker.processes(), setting.places.server_processes(contender.store)
        own_before, server_before, begun = _processor_time(own), _processor_time(server), time.monotonic()
        await asyncio.sleep(setting.seconds)
        took = time.monotonic() - begun
        memory = [process.memory_full_info() for process in own]
        return {
            "cpu": _used(own_before, _processor_time(own)) / took * 100,
            "server_cpu": _used(server_before, _processor_time(server)) / took * 100,
            "rss": sum(one.rss for one in memory) / 1e6,
            "pss": sum(one.pss for one in memory) / 1e6,
        }


MEASURES: Mapping[Measure, Callable[[Setting[Any]], Awaitable[Figures]]] = {
    Measure.ENQUEUE: enqueue,
    Measure.BULK: bulk,
    Measure.DRAIN: drain,
    Measure.IDLE_LATENCY: idle_latency,
    Measure.BUSY_LATENCY: busy_latency,
    Measure.FOOTPRINT: footprint,
    Measure.PUBLISH: publish,
    Measure.FAN_OUT: fan_out,
    Measure.EVENT_LATENCY: event_latency,
    Measure.LOG: log,
    Measure.RAIL_LOSS: rail_loss,
}
IN_TURNS = frozenset({Measure.IDLE_LATENCY, Measure.PUBLISH, Measure.EVENT_LATENCY, Measure.LOG})
"""What is measured of all contenders of a store at once, in turns."""
ONCE = frozenset({Measure.LOG})
"""What takes its rounds by itself, since to prepare it takes long."""


async def _warm_up(setting: Setting[Contender], ledger: Ledger, worker: WorkerProcess) -> None:
    contender = setting.contender
    await contender.open()
    await contender.enqueue(WARM_UP)
    await ledger.reach(1, alive=worker.check, seconds=FIRST_JOB)
    for number in range(1, 21):
        before = len(ledger)
        await contender.enqueue(WARM_UP + number)
        await ledger.reach(before + 1, alive=worker.check, seconds=20)
    await asyncio.sleep(setting.settling)


def _processor_time(processes: Sequence[psutil.Process]) -> dict[int, float]:
    """Seconds by pid; of the dead, nothing."""
    times: dict[int, float] = {}
    for process in processes:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        times[process.pid] = used.user + used.system
    return times


def _used(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(seconds - before[pid] for pid, seconds in after.items() if pid in before)

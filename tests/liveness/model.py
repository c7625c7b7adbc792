"""The protocol of producer, prefetch, ledger and wakeup, in virtual time, around a store that is a dictionary.

Everything that decides is real: `Producer`, `Prefetch`, `Ledger`, `SharedWakeup`, `Poller`. What stands around them
promises no more than the real parts do. A wakeup notifies only of what is committed while it is armed, some time later,
and, as on SQLite, perhaps once only until it is armed again; an enqueue that began before that holds it back, as the
gate of PostgreSQL does. A statement takes a while before and after the moment at which it takes effect. Heads and
claims are two statements, so other workers come between them.

Fallbacks are an hour, so that a lost wake-up is a wait of an hour.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from remit.db import fallbacks
from remit.db.statements import Query
from remit.db.store import ANYTHING, EVENTS, JOBS, Capability, Notify, Store
from remit.db.transaction import Database, Row, Value, Work
from remit.execution import queries as execution_queries
from remit.runtime.path import ledger as ledgers
from remit.runtime.path import prefetch as prefetches
from remit.runtime.path.executor import Executor
from remit.runtime.path.ledger import Claims
from remit.runtime.path.prefetch import Prefetch
from remit.runtime.path.producer import Producer
from remit.runtime.wakeup import Found, Poller, SharedWakeup
from remit.telemetry import Telemetry
from tests.liveness.clock import VirtualLoop

HOUR = 3600.0
PATIENCE = 1.0
"""Virtual seconds for which a ready job may wait while its queue has a free slot: many statements."""


@dataclass(frozen=True)
class Arrival:
    """A job, or an event, that somebody sends."""

    after: float
    """Seconds since the one before."""
    queue: int = 0
    line: int = 0
    priority: int = 0
    takes: float = 0.0
    open_for: float = 0.0
    """Seconds between the statement and its commit."""
    suspect: bool = False
    is_event: bool = False
    held_for: float = 0.0
    """Seconds for which somebody's transaction then holds its row, to delete it."""


@dataclass(frozen=True)
class World:
    """What is true for one run of the model."""

    arrivals: tuple[Arrival, ...]
    slots: tuple[int, ...] = (1,)
    """By queue."""
    lines: int = 1
    """By queue."""
    workers: int = 1
    several_writers: bool = True
    rings_once: bool = False
    most_held: int = ledgers.MOST_HELD
    paused: tuple[tuple[float, float], ...] = ()
    """From when until when the first queue is paused."""
    seed: int = 0


@dataclass
class Stored:
    id: str
    arrival: Arrival
    queue: str
    line: int
    ready_since: float
    state: str = "ready"
    held: bool = False


@dataclass
class ModelWakeup:
    """As little as a wakeup may do."""

    table: Table
    notify: Notify
    armed: bool = False

    async def arm(self) -> float:
        await self.table.delay()
        if self.table.in_flight and not self.armed:
            return self.table.random.uniform(0.003, 0.05)
        self.armed = True
        await self.table.delay()
        return HOUR

    async def disarm(self) -> None:
        await self.table.delay()
        self.armed = False
        await self.table.delay()

    async def close(self) -> None:
        pass

    def commit(self, news: str) -> None:
        if self.armed:
            self.armed = not self.table.world.rings_once
            asyncio.get_running_loop().call_later(self.table.random.uniform(0, 0.005), self.notify, news)


@dataclass
class Table:
    """The store: jobs in memory, and the wakeups of those that wait for them."""

    world: World
    random: Random
    rows: dict[str, Stored] = field(default_factory=dict)
    wakeups: list[ModelWakeup] = field(default_factory=list)
    workers: list[ModelWorker] = field(default_factory=list)
    in_flight: int = 0
    paused: bool = False
    events: int = 0
    hungry_since: dict[str, float] = field(default_factory=dict)
    longest: float = 0.0

    async def delay(self) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.0002, 0.001, 0.004, 0.02)))

    def committed(self, news: str) -> None:
        for wakeup in self.wakeups:
            wakeup.commit(news if not self.world.rings_once else ANYTHING)

    async def send(self, arrival: Arrival, number: int) -> None:
        """An enqueue: it asks whether anybody sleeps, and from then on, until it is committed, nobody falls asleep."""
        will_ring = any(wakeup.armed for wakeup in self.wakeups) or self.world.rings_once
        self.in_flight += not will_ring
        await asyncio.sleep(arrival.open_for)
        self.in_flight -= not will_ring
        if arrival.is_event:
            self.events += 1
        else:
            queue = f"q{arrival.queue}"
            line = arrival.queue * 100 + arrival.line
            now = asyncio.get_running_loop().time()
            row = self.rows[f"{number:06}"] = Stored(f"{number:06}", arrival, queue, line, now)
            if arrival.held_for:
                row.held = True
                asyncio.get_running_loop().call_later(arrival.held_for, self.rows.pop, row.id)
        if will_ring:
            self.committed(EVENTS if arrival.is_event else JOBS)
        self.watch()

    # --- the statements

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        await self.delay()
        if query == execution_queries.HEADS:
            rows = self._heads(json.loads(str(params["lines"])), bool(params["suspects"]))
        else:
            assert query == execution_queries.CLAIM
            rows = self._claim(json.loads(str(params["lines"])), bool(params["suspects"]))
        await self.delay()
        return rows

    def _ready(self, line: dict[str, Any]) -> list[Stored]:
        if self.paused and line["queue"] == "q0":
            return []
        found = [row for row in self.rows.values() if row.state == "ready" and row.line == line["line"]]
        return sorted(found, key=lambda row: (row.arrival.priority, row.id))

    def _heads(self, lines: list[dict[str, Any]], suspects: bool) -> list[Row]:
        found = []
        for line in lines:
            ready = [row for row in self._ready(line) if suspects or not row.arrival.suspect]
            if ready:
                found.append((line["line"], ready[0].arrival.priority))
        return found

    def _claim(self, lines: list[dict[str, Any]], suspects: bool) -> list[Row]:
        free = {
            line["line"]: [row for row in self._ready(line) if not row.held and row.arrival.priority <= line["ceiling"]]
            for line in lines
        }
        every = [row for rows in free.values() for row in rows if row.arrival.suspect]
        suspect = min(every, key=lambda row: (row.arrival.priority, row.id), default=None) if suspects else None
        taken: list[Stored] = []
        for line in lines:
            wanted = [row for row in free[line["line"]] if not row.arrival.suspect or row is suspect]
            taken += wanted[: line["quota"]]
        for row in taken:
            row.state = "running"
        self.watch()
        return [
            (row.id, "running", row.line, 0, 3, int(row.arrival.suspect), "json", "{}", None, row.id, "d.j", None, None,
             row.arrival.priority, 0, row.id, None, 0)
            for row in taken
        ]  # fmt: skip

    # --- the property

    def watch(self) -> None:
        """Called whenever something has changed: since when does a job wait beside a free slot?"""
        now = asyncio.get_running_loop().time()
        for number in range(len(self.world.slots)):
            queue = f"q{number}"
            if self._is_hungry(queue):
                since = self.hungry_since.setdefault(queue, now)
                self.longest = max(self.longest, now - since)
            else:
                self.hungry_since.pop(queue, None)

    def _is_hungry(self, queue: str) -> bool:
        if self.paused and queue == "q0":
            return False
        ready = [row for row in self.rows.values() if row.queue == queue and row.state == "ready" and not row.held]
        plain = any(not row.arrival.suspect for row in ready)
        for worker in self.workers:
            prefetch = worker.prefetches[queue]
            is_free = (
                prefetch.running + prefetch.waiting < prefetch.concurrency
                and len(worker.claims.ledger) < ledgers.MOST_HELD
            )
            if is_free and (
                plain or (ready and worker.claims.ledger.suspect is None and worker.executor.suspect is None)
            ):
                return True
        return False


class _Database:
    def __init__(self, table: Table) -> None:
        self._table = table

    async def run(self, work: Work[Any], *, atomic: bool = True) -> Any:
        return await work(cast("Any", self._table))


class _Relay(Poller):
    """Takes the events of a store, a few at a look."""

    name = "relay"

    def __init__(self, table: Table, wakeup: SharedWakeup) -> None:
        super().__init__(cast("Database", None), wakeup, Telemetry(), hears=EVENTS)
        self._table = table

    async def poll(self) -> Found:
        await self._table.delay()
        taken = min(self._table.events, 2)
        self._table.events -= taken
        await self._table.delay()
        return Found.NOTHING if not taken else Found.MORE if taken == 2 else Found.ALL


class ModelWorker:
    """The real parts of a worker that claim, and slots that do nothing but take time."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.executor = SimpleNamespace(suspect=None)
        self.claims = Claims(self._wake)
        self.prefetches = {
            f"q{number}": Prefetch(f"q{number}", slots, self._wake) for number, slots in enumerate(table.world.slots)
        }
        for number, prefetch in enumerate(self.prefetches.values()):
            prefetch.lines += [number * 100 + line for line in range(table.world.lines)]
        self.wakeup = SharedWakeup(self._wakeup)
        capabilities = {Capability.SEVERAL_WRITERS} if table.world.several_writers else set()
        self.producer = Producer(
            cast("Store", SimpleNamespace(capabilities=frozenset(capabilities))),
            cast("Database", _Database(table)),
            self.prefetches,
            self.claims,
            cast("Executor", self.executor),
            self.wakeup,
            Telemetry(),
        )
        self.relay = _Relay(table, self.wakeup)

    def _wakeup(self, notify: Notify) -> ModelWakeup:
        wakeup = ModelWakeup(self.table, notify)
        self.table.wakeups.append(wakeup)
        return wakeup

    def _wake(self) -> None:
        self.producer.wake()

    def start(self) -> list[asyncio.Task[None]]:
        self.producer.start()
        self.relay.start()
        return [
            asyncio.get_running_loop().create_task(self._slot(prefetch))
            for prefetch in self.prefetches.values()
            for _ in range(prefetch.concurrency)
        ]

    async def _slot(self, prefetch: Prefetch) -> None:
        while True:
            claim = await prefetch.take()
            row = self.table.rows[claim.id]
            if claim.suspect:
                self.executor.suspect = row
            await asyncio.sleep(row.arrival.takes)
            if claim.suspect:
                self.executor.suspect = None
                self._wake()
            asyncio.get_running_loop().create_task(self._complete(row, claim.token))
            prefetch.done()
            self.table.watch()

    async def _complete(self, row: Stored, token: int) -> None:
        await self.table.delay()
        del self.table.rows[row.id]
        self.claims.ledger.drop(row.id, token)
        self.table.watch()


@contextmanager
def _fallbacks_never_run_out(world: World, clock: Callable[[], float]) -> Iterator[None]:
    with (
        mock.patch.object(fallbacks, "SATURATED", HOUR),
        mock.patch.object(ledgers, "MOST_HELD", world.most_held),
        mock.patch.object(prefetches, "time", SimpleNamespace(monotonic=clock)),
    ):
        yield


def play(world: World) -> Table:
    """Run one world until all that was sent has ended; fails when a ready job waits too long beside a free slot."""
    loop = VirtualLoop()
    table = Table(world, Random(world.seed))
    parts: list[asyncio.Task[None]] = []

    async def pausing() -> None:
        for begin, end in world.paused:
            await asyncio.sleep(begin)
            table.paused = True
            await asyncio.sleep(end)
            table.paused = False
            table.committed(JOBS)
            table.watch()

    async def live() -> None:
        table.workers += [ModelWorker(table) for _ in range(world.workers)]
        for worker in table.workers:
            parts.extend(worker.start())
        others = [loop.create_task(pausing())]
        for number, arrival in enumerate(world.arrivals):
            await asyncio.sleep(arrival.after)
            others.append(loop.create_task(table.send(arrival, number)))
        await asyncio.gather(*others)
        while table.rows or table.events:
            table.watch()
            assert table.longest <= PATIENCE, f"a ready job waited beside a free slot for {table.longest:.2f} s"
            assert loop.time() < HOUR, "something never ends"
            await asyncio.sleep(0.25)
        assert table.longest <= PATIENCE, f"a ready job waited beside a free slot for {table.longest:.2f} s"
        assert [worker.producer.trouble for worker in table.workers] == [None] * world.workers

    with _fallbacks_never_run_out(world, loop.time):
        try:
            loop.run_until_complete(live())
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    return table

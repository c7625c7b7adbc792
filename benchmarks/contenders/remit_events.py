"""Events of remit on both stores, as its users publish and hear them."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.contenders.callers import ASYNC, BLOCKING, SQLITE3, Callers, PostgresCallers, SqliteCallers
from benchmarks.contenders.contender import (
    CHUNK,
    PADDING,
    SUBSCRIPTIONS,
    Count,
    Measure,
    Store,
    count_postgres,
    count_sqlite,
    file_of,
)
from benchmarks.ledger import hit
from remit import Domain, Event, Remit, Run


class BenchEvents(Domain[None], handlers=__name__):
    """What is measured."""


bench = BenchEvents()
unheard = bench.queue("unheard")
"""Paused: what comes here is only fanned out."""
pings = bench.queue("pings")


class Noop(Event[BenchEvents]):
    """Nothing to do, five times."""

    number: int
    padding: str


class Ping(Event[BenchEvents]):
    """Something to do at once."""

    number: int
    padding: str


async def _nothing(_event: Noop, _run: Run[BenchEvents]) -> None:
    raise AssertionError("this queue is paused")


for _number in range(SUBSCRIPTIONS):
    bench.on(Noop, name=f"noop-{_number}", queue=unheard)(_nothing)


@bench.on(Ping, name="pong", queue=pings)
async def pong(event: Ping, _run: Run[BenchEvents]) -> None:
    hit(event.number)


class _RemitEvents(Callers):
    name = "remit"
    distribution = "remit"
    settings = "everything by default; the queue of the five subscriptions is paused"
    measures = frozenset({Measure.PUBLISH, Measure.FAN_OUT, Measure.EVENT_LATENCY, Measure.LOG})
    own_ways = "one", "many", "soon"
    options = ""
    pinging: str
    app: Remit

    async def prepare(self) -> None:
        app = Remit(self.url + self.options, domains=[bench])
        await app.migrate()
        with app.bound():
            async with app:
                await app.queues.pause(unheard.name)

    async def open(self) -> None:
        await super().open()
        self.app = await Remit(self.url + self.options, domains=[bench]).__aenter__()

    async def close(self) -> None:
        await self.app.__aexit__()
        await super().close()

    def write(self, way: str, handle: Any, number: int) -> Any:
        event = Noop(number=number, padding=PADDING)
        return bench.publish(event, tx=handle) if way == ASYNC else bench.sync.publish(event, tx=handle)

    async def publish_by_itself(self, way: str, numbers: Sequence[int]) -> None:
        events = [Noop(number=number, padding=PADDING) for number in numbers]
        if way == "many":
            for first in range(0, len(events), CHUNK):
                await bench.publish_many(events[first : first + CHUNK])
            return
        send: Callable[[Noop], Awaitable[Any]] = bench.publish if way == "one" else bench.publish_soon
        for event in events:
            await send(event)
        await bench.flush()

    async def load(self, numbers: Sequence[int]) -> float:
        handle = self.handles[self.pinging]
        handle.execute(self.begins[self.pinging])
        bench.sync.publish_many([Noop(number=number, padding=PADDING) for number in numbers], tx=handle)
        begun = time.time()
        handle.commit()
        return begun

    async def ping(self, number: int) -> float:
        handle = self.handles[self.pinging]
        handle.execute(self.begins[self.pinging])
        bench.sync.publish(Ping(number=number, padding=PADDING), tx=handle)
        begun = time.time()
        handle.commit()
        return begun

    def work(self) -> None:
        import uvloop

        uvloop.run(Remit(self.url + self.options, domains=[bench]).worker().run())


class RemitEventsPostgres(_RemitEvents, PostgresCallers):
    store = Store.POSTGRES
    pinging = BLOCKING

    def undispatched(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM remit.event WHERE state = 'pending'")

    def deliveries(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM remit.job WHERE name LIKE '%noop%'")

    def age(self, events: int) -> None:
        import psycopg

        with psycopg.connect(self.url) as connection:
            indexes = connection.execute(
                "SELECT 'remit.' || indexname, indexdef FROM pg_indexes"
                " WHERE schemaname = 'remit' AND tablename = 'event' AND indexname <> 'event_pkey'"
            ).fetchall()
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}".encode())
            connection.execute(
                "INSERT INTO remit.event (id, due_at, published_at, occurred_at, dispatched_at, version, deliveries,"
                " state, domain, name, encoding, payload)"
                " SELECT uuidv7(interval '-30 days'), now() + interval '30 days', now() - interval '30 days',"
                " now() - interval '30 days', now() - interval '30 days', 1, %s, 'dispatched', %s, %s, 'json',"
                " '{\"number\": ' || number || ', \"padding\": \"' || %s || '\"}' FROM generate_series(1, %s) number",
                [SUBSCRIPTIONS, bench.name, Noop.__remit__.name, PADDING, events],
            )
            for _, definition in indexes:
                connection.execute(definition.encode())


class RemitEventsSqlite(_RemitEvents, SqliteCallers):
    store = Store.SQLITE
    pinging = SQLITE3

    def undispatched(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM remit_event WHERE state = 'pending'")

    def deliveries(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM remit_job WHERE name LIKE '%noop%'")

    def age(self, events: int) -> None:
        connection = sqlite3.connect(file_of(self.url), isolation_level=None)
        at = int((time.time() - 30 * 86400) * 1e6)
        connection.execute(
            "WITH RECURSIVE old (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM old WHERE number < :events)"
            " INSERT INTO remit_event (id, due_at, published_at, occurred_at, dispatched_at, version, deliveries,"
            " state, domain, name, encoding, payload)"
            " SELECT printf('%08x-%04x-7000-8000-%012x', :at / 1000 / 65536, :at / 1000 % 65536, number),"
            " :due, :at, :at, :at, 1, :deliveries, 'dispatched', :domain, :name, 'json',"
            " json_object('number', number, 'padding', :padding) FROM old",
            {
                "events": events, "at": at, "due": int((time.time() + 30 * 86400) * 1e6),
                "deliveries": SUBSCRIPTIONS, "domain": bench.name, "name": Noop.__remit__.name, "padding": PADDING,
            },
        )  # fmt: skip
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


class AloneEventsSqlite(RemitEventsSqlite):
    name = "remit alone"
    settings = "write_pause=0: workers do not pause for the application; the queue of the five subscriptions is paused"
    measures = frozenset({Measure.FAN_OUT})
    options = "?write_pause=0"


class _Rail(_RemitEvents):
    """Its process is no worker, but a producer that publishes until it is killed."""

    name = "rail at full speed"
    settings = "publish_soon, by a process that does nothing else"
    measures = frozenset({Measure.RAIL_LOSS})
    pace: float | None = None
    """Events a second; None for as many as it can."""

    def work(self) -> None:
        asyncio.run(self._produce())

    async def _produce(self) -> None:
        async with Remit(self.url + self.options, domains=[bench]):
            begun = time.monotonic()
            for number in itertools.count():
                await bench.publish_soon(Noop(number=number, padding=PADDING))
                hit(number)
                if self.pace and (early := begun + number / self.pace - time.monotonic()) > 0:
                    await asyncio.sleep(early)


class _PacedRail(_Rail):
    name = "rail at 1000/s"
    settings = "publish_soon, a thousand times a second"
    pace = 1_000.0


class RailPostgres(_Rail, RemitEventsPostgres):
    """At full speed."""


class PacedRailPostgres(_PacedRail, RemitEventsPostgres):
    """A thousand a second."""


class RailSqlite(_Rail, RemitEventsSqlite):
    """At full speed."""


class PacedRailSqlite(_PacedRail, RemitEventsSqlite):
    """A thousand a second."""


class AgedPostgres(RemitEventsPostgres):
    name = "old log"
    settings = "ten million events of a month ago in the log, dispatched"
    measures = frozenset({Measure.LOG})
    old = 10_000_000


class AgedSqlite(RemitEventsSqlite):
    name = "old log"
    settings = "a million events of a month ago in the log, dispatched"
    measures = frozenset({Measure.LOG})
    old = 1_000_000

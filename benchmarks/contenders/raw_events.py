"""The raw SQL limit of events: a bare INSERT of the same row into a like table, and a bare INSERT … SELECT of the same
deliveries, batch by batch, with no library and no promise.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.contenders.callers import BLOCKING, SESSION, SQLITE3, Callers, PostgresCallers, SqliteCallers
from benchmarks.contenders.contender import (
    CHUNK,
    PADDING,
    Count,
    Measure,
    Store,
    count_postgres,
    count_sqlite,
    file_of,
)
from benchmarks.contenders.remit_events import Noop, bench
from remit import Remit
from remit.jobs.ids import new_id
from remit.runtime.duties.relay import BATCH

_COLUMNS = (
    "id", "lane", "due_at", "published_at", "occurred_at", "correlation", "causation", "version", "domain", "name",
    "encoding", "payload", "keep", "scope", "traceparent",
)  # fmt: skip
_MOMENTS = frozenset({"due_at", "published_at", "occurred_at"})
_DELIVERY = (
    "line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, version, priority,"
    " attempts, domain, queue, name, encoding, keep, scope, traceparent"
)
_SELECTED = (
    "listener.line | event.version, 'ready', {now}, {now}, NULL, event.id, listener.id, event.id, event.id,"
    " event.version, listener.priority, listener.attempts, listener.domain, listener.queue, listener.name,"
    " event.encoding, NULL, event.scope, event.traceparent"
)


def _row(number: int) -> dict[str, Any]:
    payload = json.dumps({"number": number, "padding": PADDING})
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {"id": new_id(), "version": 1, "domain": bench.name, "name": Noop.__remit__.name, "encoding": "json"}
    return row | {"payload": payload}


class _RawEvents(Callers):
    name = "raw SQL"
    own_ways = "one", "many"
    insert: dict[str, Any]

    async def prepare(self) -> None:
        await Remit(self.url, domains=[bench]).migrate()  # for the shapes of the tables, and five subscriptions

    def parameters(self, way: str, number: int) -> Any:
        row = _row(number)
        return row if way == SESSION else [row[column] for column in _COLUMNS if column not in _MOMENTS]

    def write(self, way: str, handle: Any, number: int) -> Any:
        return handle.execute(self.insert[way], self.parameters(way, number))


class RawEventsPostgres(_RawEvents, PostgresCallers):
    store = Store.POSTGRES
    settings = f"a like table; fan-out in batches of {BATCH} events, synchronous_commit off, as remit's relay"

    async def prepare(self) -> None:
        import psycopg

        await super().prepare()
        with psycopg.connect(self.url) as connection:
            connection.execute("CREATE SCHEMA raw")
            connection.execute("CREATE TABLE raw.event (LIKE remit.event INCLUDING ALL)")
            connection.execute("CREATE TABLE raw.job (LIKE remit.job INCLUDING ALL)")
            connection.execute("CREATE TABLE raw.progress AS SELECT 0::bigint AS seq")

    async def open(self) -> None:
        from sqlalchemy import text

        await super().open()
        into = f"INSERT INTO raw.event ({', '.join(_COLUMNS)}) VALUES "
        plain = into + f"({', '.join('now()' if one in _MOMENTS else '%s' for one in _COLUMNS)})"
        named = into + f"({', '.join('now()' if one in _MOMENTS else ':' + one for one in _COLUMNS)})"
        self.insert = {way: text(named) if way == SESSION else plain for way in self.ways}

    async def publish_by_itself(self, way: str, numbers: Sequence[int]) -> None:
        connection = self.handles[BLOCKING]
        if way == "one":
            for number in numbers:
                connection.execute(self.insert[BLOCKING], self.parameters(BLOCKING, number))
                connection.commit()
            return
        for first in range(0, len(numbers), CHUNK):
            rows = [self.parameters(BLOCKING, number) for number in numbers[first : first + CHUNK]]
            connection.cursor().executemany(self.insert[BLOCKING], rows)
            connection.commit()

    async def load(self, numbers: Sequence[int]) -> float:
        connection = self.handles[BLOCKING]
        connection.cursor().executemany(
            self.insert[BLOCKING], [self.parameters(BLOCKING, number) for number in numbers]
        )
        connection.execute("SELECT pg_notify('raw', '')")
        begun = time.time()
        connection.commit()
        return begun

    def undispatched(self) -> Count:
        return count_postgres(
            self.url,
            "SELECT coalesce(max(event.seq) - max(progress.seq), 0) FROM raw.progress JOIN raw.event"
            f" ON name = '{Noop.__remit__.name}' AND event.seq > progress.seq",
        )

    def deliveries(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM raw.job")

    def work(self) -> None:
        import psycopg

        connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=0)
        connection.execute("SET synchronous_commit = off")
        connection.execute("LISTEN raw")
        deliver = (
            "WITH batch AS MATERIALIZED (SELECT * FROM raw.event"
            f"  WHERE name = %s AND seq > (SELECT seq FROM raw.progress) ORDER BY seq LIMIT {BATCH}),"
            f" sent AS (INSERT INTO raw.job (id, {_DELIVERY}) SELECT uuidv7(), {_SELECTED.format(now='now()')}"
            "  FROM batch AS event CROSS JOIN remit.subscription AS listener WHERE listener.name LIKE '%%noop%%')"
            " UPDATE raw.progress SET seq = batch.last FROM (SELECT max(seq) AS last FROM batch) AS batch"
            " WHERE batch.last IS NOT NULL"
        )
        while True:
            while connection.execute(deliver.encode(), [Noop.__remit__.name]).rowcount:
                pass
            for _ in connection.notifies(timeout=5, stop_after=1):
                pass


class RawEventsSqlite(_RawEvents, SqliteCallers):
    store = Store.SQLITE
    polite = False
    settings = f"a like table; fan-out in batches of {BATCH} events, data_version read every millisecond"

    async def prepare(self) -> None:
        await super().prepare()
        connection = self._connect()
        shapes = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"
            " AND tbl_name IN ('remit_event', 'remit_job') ORDER BY type = 'index'"
        ).fetchall()
        for [shape] in shapes:
            connection.execute(shape.replace("remit_", "raw_"))
        connection.execute("CREATE TABLE raw_progress AS SELECT 0 AS seq")
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(file_of(self.url), isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def open(self) -> None:
        from sqlalchemy import text

        await super().open()
        into = f"INSERT INTO raw_event ({', '.join(_COLUMNS)}) VALUES "
        plain = into + f"({', '.join('0' if one in _MOMENTS else '?' for one in _COLUMNS)})"
        named = into + f"({', '.join('0' if one in _MOMENTS else ':' + one for one in _COLUMNS)})"
        self.insert = {way: text(named) if way == SESSION else plain for way in self.ways}

    async def publish_by_itself(self, way: str, numbers: Sequence[int]) -> None:
        connection, insert = self.handles[SQLITE3], self.insert[SQLITE3]
        if way == "one":
            for number in numbers:
                connection.execute(insert, self.parameters(SQLITE3, number))
            return
        for first in range(0, len(numbers), CHUNK):
            rows = [self.parameters(SQLITE3, number) for number in numbers[first : first + CHUNK]]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")

    async def load(self, numbers: Sequence[int]) -> float:
        connection = self.handles[SQLITE3]
        rows = [self.parameters(SQLITE3, number) for number in numbers]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(self.insert[SQLITE3], rows)
        begun = time.time()
        connection.execute("COMMIT")
        return begun

    def undispatched(self) -> Count:
        return count_sqlite(self.url, "SELECT (SELECT max(seq) FROM raw_event) - seq FROM raw_progress")

    def deliveries(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM raw_job")

    def work(self) -> None:
        connection = self._connect()
        seen = -1
        deliver = (
            f"INSERT INTO raw_job (id, {_DELIVERY})"
            f" SELECT substr(event.id, 1, 24) || substr(listener.id, 25), {_SELECTED.format(now='0')}"
            " FROM raw_event AS event CROSS JOIN remit_subscription AS listener"
            " WHERE event.seq > ? AND event.seq <= ? AND listener.name LIKE '%noop%'"
        )
        while True:
            [version] = connection.execute("PRAGMA data_version").fetchone()
            if version == seen:
                time.sleep(0.001)
                continue
            seen = version
            while True:
                begun = time.monotonic()
                connection.execute("BEGIN IMMEDIATE")
                [first] = connection.execute("SELECT seq FROM raw_progress").fetchone()
                [last] = connection.execute(
                    "SELECT min(?, coalesce(max(seq), 0)) FROM raw_event", [first + BATCH]
                ).fetchone()
                if last > first:
                    connection.execute(deliver, [first, last])
                    connection.execute("UPDATE raw_progress SET seq = ?", [last])
                connection.execute("COMMIT")
                if self.polite:
                    time.sleep(time.monotonic() - begun)
                if last <= first:
                    break


class PoliteEventsSqlite(RawEventsSqlite):
    name = "raw SQL polite"
    settings = "after each batch it pauses for as long as that took, as a relay does, so that others can write"
    measures = frozenset({Measure.FAN_OUT})
    polite = True

"""The raw SQL limit: a plain table, bare statements, no library, no promise.

The worker claims 500, writes their 16 bytes, completes 500, and so on, on one connection: what the database gives to a
program that does one thing after the other and keeps nothing but a state.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.contenders.contender import PADDING, Contender, Count, Store, count_postgres, count_sqlite, file_of
from benchmarks.ledger import hit

if TYPE_CHECKING:
    import psycopg

BATCH = 500

_POSTGRES = """
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state smallint NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    finished_at timestamptz,
    payload text NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX job_ready ON job (run_at, id) WHERE state = 0;
"""
_POSTGRES_CLAIM = """
UPDATE job SET state = 1, claimed_at = now()
WHERE id = ANY (ARRAY(SELECT id FROM job WHERE state = 0 ORDER BY run_at, id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, payload
"""
_SQLITE = """
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL DEFAULT 0,
    run_at REAL NOT NULL,
    claimed_at REAL,
    finished_at REAL,
    payload TEXT NOT NULL
);
CREATE INDEX job_ready ON job (run_at, id) WHERE state = 0;
"""
_SQLITE_CLAIM = """
UPDATE job SET state = 1, claimed_at = ?
WHERE id IN (SELECT id FROM job WHERE state = 0 ORDER BY run_at, id LIMIT ?)
RETURNING id, payload
"""


def _payload(number: int) -> str:
    return json.dumps({"number": number, "padding": PADDING})


class RawPostgres(Contender):
    name = "raw SQL"
    store = Store.POSTGRES
    settings = f"psycopg, blocking; batches of {BATCH}, LISTEN and an unconditional NOTIFY"
    drain_n = 100_000
    connection: psycopg.Connection

    async def prepare(self) -> None:
        import psycopg

        with psycopg.connect(self.url) as connection:
            connection.execute(_POSTGRES)

    async def open(self) -> None:
        import psycopg

        self.connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=0)

    async def close(self) -> None:
        self.connection.close()

    async def enqueue(self, number: int) -> None:
        self.connection.execute(
            "WITH sent AS (INSERT INTO job (payload) VALUES (%s)) SELECT pg_notify('work', '')", [_payload(number)]
        )

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        with self.connection.cursor() as cursor, cursor.copy("COPY job (payload) FROM STDIN") as copy:
            for number in numbers:
                copy.write_row([_payload(number)])

    def unfinished(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM job WHERE state <> 2")

    def work(self) -> None:
        import psycopg

        connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=0)
        connection.execute("LISTEN work")
        while True:
            rows = connection.execute(_POSTGRES_CLAIM, [BATCH]).fetchall()
            for _, payload in rows:
                hit(json.loads(payload)["number"])
            if rows:
                ids = [id for id, _ in rows]
                connection.execute("UPDATE job SET state = 2, finished_at = now() WHERE id = ANY (%s)", [ids])
            else:
                for _ in connection.notifies(timeout=5, stop_after=1):
                    pass


class RawSqlite(Contender):
    name = "raw SQL"
    store = Store.SQLITE
    settings = f"sqlite3, blocking; WAL, synchronous=FULL; batches of {BATCH}, data_version read every millisecond"
    drain_n = 100_000
    connection: sqlite3.Connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(file_of(self.url), isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def prepare(self) -> None:
        connection = self._connect()
        connection.executescript(_SQLITE)
        connection.close()

    async def open(self) -> None:
        self.connection = self._connect()

    async def close(self) -> None:
        self.connection.close()

    async def enqueue(self, number: int) -> None:
        self.connection.execute("INSERT INTO job (run_at, payload) VALUES (?, ?)", (time.time(), _payload(number)))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        rows = [(time.time(), _payload(number)) for number in numbers]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO job (run_at, payload) VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def unfinished(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM job WHERE state <> 2")

    def work(self) -> None:
        connection = self._connect()
        seen = -1
        while True:
            [version] = connection.execute("PRAGMA data_version").fetchone()
            if version == seen:
                time.sleep(0.001)
                continue
            seen = version
            while rows := connection.execute(_SQLITE_CLAIM, (time.time(), BATCH)).fetchall():
                for _, payload in rows:
                    hit(json.loads(payload)["number"])
                now = time.time()
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "UPDATE job SET state = 2, finished_at = ? WHERE id = ?", [(now, id) for id, _ in rows]
                )
                connection.execute("COMMIT")

"""`run.transaction()` on SQLite: what becomes of the write lock."""

import asyncio
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit import schema
from remit.db.sqlite import SqliteStore
from remit.db.sqlite.connection import SqliteTransaction
from remit.db.transaction import Role, Transaction
from remit.jobs import operations as jobs

WRITERS = 5


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:///{tmp_path / 'x.db'}")


@pytest.fixture
def somebody(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """The application's own connection."""
    connection = store.connect()
    connection.execute("CREATE TABLE t (a)")
    yield connection
    connection.close()


async def test_a_session_that_is_cancelled_while_it_waits_does_not_take_the_lock_later(
    store: SqliteStore, somebody: sqlite3.Connection
) -> None:
    database = store.database(Role.HANDLER)

    async def write() -> None:
        async with database.session() as session:
            await session.execute("INSERT INTO t VALUES (1)")

    somebody.execute("BEGIN IMMEDIATE")
    waiting = [asyncio.create_task(write()) for _ in range(WRITERS)]
    await asyncio.sleep(0.1)
    for task in waiting:
        task.cancel()
    errors = await asyncio.gather(*waiting, return_exceptions=True)  # kept: they must not be what holds the lock
    somebody.execute("ROLLBACK")

    async with asyncio.timeout(5):
        await write()
    assert [type(error) for error in errors] == [asyncio.CancelledError] * WRITERS
    assert somebody.execute("SELECT count(*) FROM t").fetchone() == (1,)
    await database.close()


async def test_handlers_that_want_to_write_at_once_stand_in_a_queue(
    store: SqliteStore, somebody: sqlite3.Connection
) -> None:
    database = store.database(Role.HANDLER)
    inside = 0

    async def write(number: int) -> None:
        nonlocal inside
        async with database.session() as session:
            inside += 1
            assert inside == 1
            await session.execute("INSERT INTO t VALUES (?)", [number])
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS * 4):
            group.create_task(write(number))
    assert somebody.execute("SELECT count(*) FROM t").fetchone() == (WRITERS * 4,)
    await database.close()


def test_a_worker_pauses_for_as_long_as_it_wrote_not_for_as_long_as_it_waited(
    store: SqliteStore, somebody: sqlite3.Connection
) -> None:
    """The lock file says until when others wait."""
    released: list[float] = []

    def let_go() -> None:
        released.append(time.monotonic())
        somebody.execute("ROLLBACK")

    async def write(tx: Transaction) -> None:
        assert isinstance(tx, SqliteTransaction)
        await tx.execute("INSERT INTO t VALUES (1)")

    somebody.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.5, let_go)
    timer.start()
    database = store.blocking(Role.COMPLETE)
    database.run(write)
    ended = time.monotonic()
    database.close()
    [free_at] = struct.unpack("d", (store.sidecar / "turn.lock").read_bytes())
    assert free_at - ended <= ended - released[0]


@pytest.mark.parametrize("share", [0, 1, 4])
def test_the_pause_is_so_many_lengths_of_the_write(tmp_path: Path, share: int) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path / 'x.db'}?write_pause={share}")
    schema.migrate(store)
    database = store.blocking(Role.COMPLETE)
    begun = 0.0

    async def write(tx: Transaction) -> None:
        nonlocal begun
        begun = time.monotonic()
        time.sleep(0.02)

    asked = time.monotonic()
    database.run(write)
    ended = time.monotonic()
    database.close()
    [free_at] = struct.unpack("d", (store.sidecar / "turn.lock").read_bytes())
    assert begun + 0.02 * (1 + share) <= free_at <= ended + (ended - asked) * share


def test_what_waited_for_the_lock_is_dated_when_it_had_it(store: SqliteStore, somebody: sqlite3.Connection) -> None:
    """Else an event might be fanned out before it was published."""
    schema.migrate(store)
    released: list[float] = []

    def let_go() -> None:
        released.append(time.time())
        somebody.execute("ROLLBACK")

    somebody.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, let_go).start()
    database = store.blocking(Role.CLIENT)
    database.run(lambda tx: jobs.pause(tx, "a.default", by=None), atomic=False)
    database.close()
    [(paused_at,)] = somebody.execute("SELECT paused_at FROM remit_queue").fetchall()
    assert paused_at / 1e6 >= released[0]

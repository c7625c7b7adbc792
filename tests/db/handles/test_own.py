"""What remit's own sessions, its imports and SQLAlchemy's order of things have to do with adoption."""

import json
import subprocess
import sys
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from django.db.transaction import TransactionManagementError
from sqlalchemy.ext.asyncio import AsyncSession

from remit.client import records
from remit.db.handles import is_blocking
from remit.db.store import Store
from remit.db.transaction import Role, run_blocking
from remit.errors import AutocommitTransaction, ClosedTransaction, ForeignTransaction, LeaseLost, TransactionError
from remit.execution import operations as execution
from remit.execution import queries as execution_queries
from remit.execution.model import Allotment, Ended
from remit.jobs import operations
from remit.jobs.states import Completed, State, decide
from tests.db.handles.kinds import (
    REGISTER,
    WORKER,
    Outside,
    async_engine,
    atomic,
    django_connection,
    engine,
    job,
    sqlite_connection,
    url_of,
)

on_both = pytest.mark.parametrize("outside", ["postgres", "sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("outside", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("outside", ["sqlite"], indirect=True)

ENDED = (AutocommitTransaction, ClosedTransaction)


@on_both
async def test_remits_own_session_is_its_own_transaction(outside: Outside) -> None:
    row = job()
    database = outside.store.database(Role.HANDLER)
    async with database.session() as session:
        assert outside.store.adopt(session) is session
        assert not is_blocking(session)
        await operations.enqueue(outside.store.adopt(session), [row], store=outside.identity)
    assert outside.has(row["id"])
    with pytest.raises(ENDED):
        outside.store.adopt(session)
    await database.close()


@on_both
def test_remits_own_blocking_session_too(outside: Outside) -> None:
    row = job()
    database = outside.store.blocking(Role.HANDLER)
    with database.session() as session:
        assert outside.store.adopt(session) is session
        assert is_blocking(session)
        run_blocking(operations.enqueue(outside.store.adopt(session), [row], store=outside.identity))
    assert outside.has(row["id"])
    with pytest.raises(ENDED):
        outside.store.adopt(session)
    database.close()


@on_postgres
def test_remits_own_session_is_refused_where_it_has_failed(outside: Outside) -> None:
    with outside.database.session() as session:
        with pytest.raises(psycopg.errors.UndefinedTable):
            run_blocking(session.execute("SELECT * FROM nowhere"))
        with pytest.raises(TransactionError, match="failed already"):
            outside.store.adopt(session)


@on_both
def test_remits_own_session_of_the_other_engine_is_foreign(outside: Outside, postgres: Store, sqlite: Store) -> None:
    with outside.database.session() as session, pytest.raises(ForeignTransaction, match="is open on"):
        (sqlite if outside.store is postgres else postgres).adopt(session)


@on_sqlite
def test_an_adopted_handle_is_not_adopted_twice(outside: Outside) -> None:
    with engine(outside.store, "pysqlite") as it, it.connect() as connection:
        transaction = outside.store.adopt(connection)
        assert outside.store.adopt(transaction) is transaction


LAZILY = """
import sys
LIBRARIES = {"sqlalchemy", "psycopg", "psycopg_pool", "asyncpg", "aiosqlite", "django"}

def loaded():
    return LIBRARIES & {name.partition(".")[0] for name in sys.modules}

import remit.db.handles
assert not loaded() and "sqlite3" not in sys.modules

from remit.db.sqlite import SqliteStore
import sqlite3
store = SqliteStore(sys.argv[1])
connection = sqlite3.connect(store.path)
store.adopt(connection)
try:
    store.adopt(object())
except TypeError:
    pass
assert not loaded(), loaded()
import aiosqlite, asyncio

async def main():
    async with aiosqlite.connect(store.path) as connection:
        store.adopt(connection)

asyncio.run(main())
assert loaded() == {"aiosqlite"}, loaded()
"""


def test_nothing_is_imported_that_the_caller_does_not_use(sqlite_url: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", LAZILY, sqlite_url], check=True)


@on_postgres
async def test_on_the_connection_under_sqlalchemy_a_row_would_survive_the_rollback(outside: Outside) -> None:
    """Why a handle of SQLAlchemy is never unwrapped: with asyncpg its BEGIN comes with its own first statement."""
    async with async_engine(outside.store, "asyncpg") as it, AsyncSession(it) as session:
        under = (await (await session.connection()).get_raw_connection()).driver_connection
        assert under is not None
        await under.execute("INSERT INTO note VALUES ('survivor')")
        await session.rollback()
        assert outside.notes() == ["survivor"]

        row = job()
        await operations.enqueue(outside.store.adopt(session), [row], store=outside.identity)
        await session.rollback()
        assert not outside.has(row["id"])


@on_postgres
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_blocking_code_under_run_sync_sends_on_its_session(outside: Outside, driver: str) -> None:
    row = job()

    def handler(session: Any) -> None:
        transaction = outside.store.adopt(session)
        assert is_blocking(transaction)
        run_blocking(operations.enqueue(transaction, [row], store=outside.identity))

    async with async_engine(outside.store, driver) as it, AsyncSession(it) as session:
        await session.run_sync(handler)
        assert not outside.has(row["id"])
        await session.commit()
    assert outside.has(row["id"])


@on_both
async def test_a_savepoint_that_is_rolled_back_takes_the_job_with_it(outside: Outside) -> None:
    driver = {"postgres": "psycopg", "sqlite": "pysqlite"}[outside.store.dialect]
    first, second = job(), job()
    with engine(outside.store, driver) as it, it.connect() as connection:
        await operations.enqueue(outside.store.adopt(connection), [first], store=outside.identity)
        savepoint = connection.begin_nested()
        await operations.enqueue(outside.store.adopt(connection), [second], store=outside.identity)
        savepoint.rollback()
        connection.commit()
    assert outside.has(first["id"])
    assert not outside.has(second["id"])


@on_postgres
async def test_a_commit_of_the_callers_in_a_pipeline_comes_after_the_send(outside: Outside) -> None:
    row = job()
    connection = await psycopg.AsyncConnection.connect(url_of(outside.store), autocommit=True)
    async with connection, connection.pipeline(), connection.transaction():
        await connection.execute("INSERT INTO note VALUES ('before')")
        await operations.enqueue(outside.store.adopt(connection), [row], store=outside.identity)
        assert not outside.has(row["id"])
    assert outside.has(row["id"])
    assert outside.notes() == ["before"]


@on_sqlite
async def test_a_reading_statement_begins_no_transaction_in_sqlite3(outside: Outside) -> None:
    with sqlite_connection(outside.store) as connection:
        await records.get(outside.store.adopt(connection), job()["id"])
        assert not connection.in_transaction


@on_sqlite
async def test_a_write_that_does_not_begin_with_its_verb_begins_one(outside: Outside) -> None:
    """sqlite3 begins one before INSERT, UPDATE and DELETE, but would let a claim (WITH … UPDATE) commit by itself."""
    outside.execute(REGISTER["sqlite"])
    id = outside.enqueue()
    with sqlite_connection(outside.store) as connection:
        claims, _ = await execution.claim(
            outside.store.adopt(connection), [Allotment(7, "billing.default", 1)], worker=WORKER, token=1
        )
        assert [claim.id for claim in claims] == [id]
        connection.rollback()
    record = outside.database.run(lambda tx: records.get(tx, id))
    assert record is not None
    assert record.state == State.READY


@on_postgres
async def test_codecs_of_the_callers_asyncpg_connection_are_no_matter(outside: Outside) -> None:
    row = job()
    connection = await asyncpg.connect(url_of(outside.store))
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("uuid", encoder=lambda id: id.hex, decoder=str, schema="pg_catalog")
    async with connection.transaction():
        await operations.enqueue(outside.store.adopt(connection), [row], store=outside.identity)
    await connection.close()
    assert outside.has(row["id"])


@on_sqlite
def test_django_refuses_to_go_on_after_a_lost_lease(outside: Outside) -> None:
    """On SQLite the transaction is gone, and what followed would commit statement by statement."""

    with django_connection(outside.store) as connection, atomic():
        with pytest.raises(LeaseLost):
            run_blocking(outside.store.adopt(connection).fetch(execution_queries.REFUSE, job=job()["id"]))
        with pytest.raises(TransactionManagementError):
            connection.cursor().execute("INSERT INTO note VALUES ('of a zombie')")
    assert outside.notes() == []


def test_sqlalchemy_is_at_a_version_with_a_known_mark_of_autocommit() -> None:
    """The option of create_engine has no public name; without it a refusal would come one statement later."""
    assert hasattr(sa.create_engine("sqlite://").dialect, "_on_connect_isolation_level")


@on_postgres
def test_a_lease_lost_inside_a_savepoint_cannot_be_survived(outside: Outside) -> None:
    id = outside.enqueue()
    ended = Ended(id, 4711, 1, decide(Completed(None), failures=0, attempts=3), [])
    with psycopg.connect(url_of(outside.store)) as connection:
        connection.execute("INSERT INTO note VALUES ('of a zombie')")
        with pytest.raises((LeaseLost, psycopg.OperationalError)), connection.transaction():  # a savepoint
            run_blocking(execution.complete(outside.store.adopt(connection), ended, worker=WORKER, stamp=1))
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert outside.notes() == []

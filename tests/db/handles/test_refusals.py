"""A handle on which the caller's commit would not decide is refused, in words that say what to do."""

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import psycopg_pool
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from remit.db.handles.adopted import must_begin
from remit.db.store import Store
from remit.db.transaction import Role
from remit.errors import (
    AutocommitTransaction,
    ClosedTransaction,
    ForeignTransaction,
    StoreBusy,
    TransactionError,
    UnsupportedHandle,
)
from remit.jobs import operations
from tests.db.handles.kinds import (
    POSTGRES,
    SQLITE,
    Caller,
    Kind,
    Outside,
    async_engine,
    atomic,
    django_connection,
    engine,
    job,
    path_of,
    sqlite_connection,
    url_of,
)

Opened = Callable[[Store], AbstractAsyncContextManager[Any]]
STRANGER = "00000000-0000-4000-8000-000000000000"


async def enqueue(store: Store, handle: object, identity: str = STRANGER) -> None:
    await operations.enqueue(store.adopt(handle), [job()], store=identity)


def cases(**opened: tuple[str, Opened]) -> pytest.MarkDecorator:
    params = [pytest.param(name, open, id=id.replace("_", "-")) for id, (name, open) in opened.items()]
    return pytest.mark.parametrize("outside, open", params, indirect=["outside"])


def given(manager: Callable[[Store], Any]) -> Opened:
    """A case from a plain generator."""

    @asynccontextmanager
    async def open(store: Store) -> AsyncIterator[Any]:
        with contextmanager(manager)(store) as handle:
            yield handle

    return open


@pytest.mark.parametrize("thing", [None, "postgresql://localhost/shop", object(), Session, {"tx": 1}])
@pytest.mark.parametrize("outside", ["postgres", "sqlite"], indirect=True)
def test_what_is_no_handle_is_refused_with_a_list_of_what_is_accepted(outside: Outside, thing: object) -> None:
    with pytest.raises(UnsupportedHandle, match=f"tx is of type {type(thing).__module__}") as caught:
        outside.store.adopt(thing)
    for word in ("Session", "AsyncConnection", "psycopg", "asyncpg", "sqlite3", "aiosqlite", "Django"):
        assert word in str(caught.value)


@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
async def test_engines_pools_cursors_and_factories_are_told_apart_from_connections(outside: Outside) -> None:
    store = outside.store

    def refusal(thing: object) -> str:
        with pytest.raises(UnsupportedHandle) as caught:
            store.adopt(thing)
        return str(caught.value)

    with engine(store, "pysqlite") as it, it.connect() as connection:
        assert refusal(it) == (
            "tx is an engine (sqlalchemy.engine.base.Engine): pass a connection or session, not an engine"
        )
        assert "not a session factory" in refusal(sessionmaker(it))
        assert "not a pool" in refusal(it.pool)
        assert "SQLAlchemy's own connection" in refusal(connection.connection)
        assert "that it was begun on, not a transaction object" in refusal(connection.begin())
        assert "that it was begun on" in refusal(Session(it).begin())
    async with async_engine(store, "aiosqlite") as it:
        assert "not an engine" in refusal(it)
        assert "not a session factory" in refusal(async_sessionmaker(it))
        assert "that it was begun on" in refusal(AsyncSession(it).begin())
    with sqlite_connection(store) as connection:
        assert "not a cursor" in refusal(connection.cursor())
    async with aiosqlite.connect(path_of(store)) as connection:
        assert "not a cursor" in refusal(await connection.cursor())
    with django_connection(store) as connection:
        from django.core.cache import cache
        from django.db import connections

        assert "not a cursor" in refusal(connection.cursor())
        assert "connections['default']" in refusal(connections)
        assert "tx is of type django.utils.connection.ConnectionProxy" in refusal(cache)


@pytest.mark.parametrize("outside", ["postgres"], indirect=True)
async def test_pools_cursors_and_blocks_of_postgresql_drivers_too(outside: Outside) -> None:
    store, url = outside.store, url_of(outside.store)

    def refusal(thing: object) -> str:
        with pytest.raises(UnsupportedHandle) as caught:
            store.adopt(thing)
        return str(caught.value)

    assert "not a pool" in refusal(psycopg_pool.ConnectionPool(url, open=False))
    assert "not a pool" in refusal(psycopg_pool.AsyncConnectionPool(url, open=False))
    with psycopg.connect(url) as connection:
        assert "not a cursor" in refusal(connection.cursor())
        with connection.transaction() as block:
            assert "that it was begun on" in refusal(block)
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as borrowed:
        assert "not a pool" in refusal(pool)
        assert "that it was begun on" in refusal(borrowed.transaction())


def psycopg_closed(store: Store) -> Any:
    connection = psycopg.connect(url_of(store))
    connection.close()
    yield connection


@asynccontextmanager
async def psycopg_asyncio_closed(store: Store) -> AsyncIterator[Any]:
    connection = await psycopg.AsyncConnection.connect(url_of(store))
    await connection.close()
    yield connection


@asynccontextmanager
async def asyncpg_closed(store: Store) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url_of(store))
    await connection.close()
    yield connection


@asynccontextmanager
async def asyncpg_back_in_its_pool(store: Store) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url_of(store), min_size=1) as pool:
        async with pool.acquire() as connection:
            pass
        yield connection


def sqlite3_closed(store: Store) -> Any:
    with sqlite_connection(store) as connection:
        connection.close()
        yield connection


@asynccontextmanager
async def aiosqlite_closed(store: Store) -> AsyncIterator[Any]:
    async with aiosqlite.connect(path_of(store)) as connection:
        pass
    yield connection


@asynccontextmanager
async def aiosqlite_not_open_yet(store: Store) -> AsyncIterator[Any]:
    yield aiosqlite.connect(path_of(store))


def sqlalchemy_connection_closed(store: Store) -> Any:
    with engine(store, "pysqlite") as it:
        with it.connect() as connection:
            pass
        yield connection


def sqlalchemy_block_ended(store: Store) -> Any:
    with engine(store, "pysqlite") as it, it.begin() as connection:
        connection.commit()
        yield connection


def sqlalchemy_session_block_ended(store: Store) -> Any:
    with engine(store, "pysqlite") as it, Session(it) as session, session.begin():
        session.commit()
        yield session


def sqlalchemy_session_closed_for_good(store: Store) -> Any:
    with engine(store, "pysqlite") as it:
        session = Session(it, close_resets_only=False)
        session.close()
        yield session


@asynccontextmanager
async def sqlalchemy_async_connection_closed(store: Store) -> AsyncIterator[Any]:
    async with async_engine(store, "asyncpg") as it:
        async with it.connect() as connection:
            pass
        yield connection


@asynccontextmanager
async def sqlalchemy_async_connection_not_open_yet(store: Store) -> AsyncIterator[Any]:
    async with async_engine(store, "asyncpg") as it:
        yield it.connect()


@asynccontextmanager
async def sqlalchemy_async_block_ended(store: Store) -> AsyncIterator[Any]:
    async with async_engine(store, "asyncpg") as it, it.begin() as connection:
        await connection.commit()
        yield connection


def django_closed_in_its_block(store: Store) -> Any:
    with django_connection(store) as connection, atomic():
        connection.close()
        yield connection


@cases(
    psycopg=("postgres", given(psycopg_closed)),
    psycopg_asyncio=("postgres", psycopg_asyncio_closed),
    asyncpg=("postgres", asyncpg_closed),
    asyncpg_back_in_its_pool=("postgres", asyncpg_back_in_its_pool),
    sqlite3=("sqlite", given(sqlite3_closed)),
    aiosqlite=("sqlite", aiosqlite_closed),
    aiosqlite_not_open_yet=("sqlite", aiosqlite_not_open_yet),
    sqlalchemy_connection=("sqlite", given(sqlalchemy_connection_closed)),
    sqlalchemy_block_ended=("sqlite", given(sqlalchemy_block_ended)),
    sqlalchemy_session_block_ended=("sqlite", given(sqlalchemy_session_block_ended)),
    sqlalchemy_session_closed_for_good=("sqlite", given(sqlalchemy_session_closed_for_good)),
    sqlalchemy_async_connection=("postgres", sqlalchemy_async_connection_closed),
    sqlalchemy_async_connection_not_open_yet=("postgres", sqlalchemy_async_connection_not_open_yet),
    sqlalchemy_async_block_ended=("postgres", sqlalchemy_async_block_ended),
    django=("sqlite", given(django_closed_in_its_block)),
)
async def test_a_closed_handle_is_refused(outside: Outside, open: Opened) -> None:
    async with open(outside.store) as handle:
        with pytest.raises(ClosedTransaction):
            await enqueue(outside.store, handle, outside.identity)


def psycopg_autocommit(store: Store) -> Any:
    with psycopg.connect(url_of(store), autocommit=True) as connection:
        yield connection


def psycopg_autocommit_pipeline(store: Store) -> Any:
    with psycopg.connect(url_of(store), autocommit=True) as connection, connection.pipeline():
        connection.execute("INSERT INTO note VALUES ('by itself')")
        yield connection


@asynccontextmanager
async def psycopg_asyncio_autocommit(store: Store) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url_of(store), autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def psycopg_asyncio_autocommit_pipeline(store: Store) -> AsyncIterator[Any]:
    connect = psycopg.AsyncConnection.connect
    async with await connect(url_of(store), autocommit=True) as connection, connection.pipeline():
        yield connection


@asynccontextmanager
async def asyncpg_outside_a_transaction(store: Store) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url_of(store))
    yield connection
    await connection.close()


@asynccontextmanager
async def asyncpg_pool_outside_a_transaction(store: Store) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url_of(store), min_size=1) as pool, pool.acquire() as connection:
        yield connection


def sqlite3_autocommit(store: Store) -> Any:
    with sqlite_connection(store, isolation_level=None) as connection:
        yield connection


def sqlite3_autocommit_attribute(store: Store) -> Any:
    with sqlite_connection(store, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def aiosqlite_autocommit(store: Store) -> AsyncIterator[Any]:
    async with aiosqlite.connect(path_of(store), isolation_level=None) as connection:
        yield connection


@asynccontextmanager
async def aiosqlite_autocommit_attribute(store: Store) -> AsyncIterator[Any]:
    async with aiosqlite.connect(path_of(store), autocommit=True) as connection:
        yield connection


def sqlalchemy_autocommit(driver: str, **options: Any) -> Opened:
    def open(store: Store) -> Any:
        with engine(store, driver, **options) as it, it.connect() as connection:
            yield connection

    return given(open)


def sqlalchemy_autocommit_option(driver: str) -> Opened:
    def open(store: Store) -> Any:
        with engine(store, driver) as it, it.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    return given(open)


def sqlalchemy_session_autocommit_option(driver: str) -> Opened:
    def open(store: Store) -> Any:
        with engine(store, driver) as it, Session(it) as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session

    return given(open)


def sqlalchemy_engine_option(driver: str) -> Opened:
    def open(store: Store) -> Any:
        with engine(store, driver) as it, Session(it.execution_options(isolation_level="AUTOCOMMIT")) as session:
            yield session

    return given(open)


@asynccontextmanager
async def sqlalchemy_asyncpg_autocommit(store: Store) -> AsyncIterator[Any]:
    async with async_engine(store, "asyncpg", isolation_level="AUTOCOMMIT") as it, AsyncSession(it) as session:
        yield session


@asynccontextmanager
async def sqlalchemy_aiosqlite_autocommit(store: Store) -> AsyncIterator[Any]:
    async with async_engine(store, "aiosqlite", isolation_level="AUTOCOMMIT") as it, AsyncSession(it) as session:
        yield session


def sqlalchemy_session_without_autobegin(store: Store) -> Any:
    with engine(store, "pysqlite") as it, Session(it, autobegin=False) as session:
        yield session


def django_outside_atomic(store: Store) -> Any:
    with django_connection(store) as connection:
        yield connection


since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has the attribute since Python 3.12")


@cases(
    psycopg=("postgres", given(psycopg_autocommit)),
    psycopg_pipeline=("postgres", given(psycopg_autocommit_pipeline)),
    psycopg_asyncio=("postgres", psycopg_asyncio_autocommit),
    psycopg_asyncio_pipeline=("postgres", psycopg_asyncio_autocommit_pipeline),
    asyncpg=("postgres", asyncpg_outside_a_transaction),
    asyncpg_pool=("postgres", asyncpg_pool_outside_a_transaction),
    sqlite3=("sqlite", given(sqlite3_autocommit)),
    aiosqlite=("sqlite", aiosqlite_autocommit),
    sqlalchemy_engine=("postgres", sqlalchemy_autocommit("psycopg", isolation_level="AUTOCOMMIT")),
    sqlalchemy_driver=("postgres", sqlalchemy_autocommit("psycopg", connect_args={"autocommit": True})),
    sqlalchemy_option=("postgres", sqlalchemy_autocommit_option("psycopg")),
    sqlalchemy_session_option=("postgres", sqlalchemy_session_autocommit_option("psycopg")),
    sqlalchemy_engine_option=("postgres", sqlalchemy_engine_option("psycopg")),
    sqlalchemy_asyncpg=("postgres", sqlalchemy_asyncpg_autocommit),
    sqlalchemy_sqlite_engine=("sqlite", sqlalchemy_autocommit("pysqlite", isolation_level="AUTOCOMMIT")),
    sqlalchemy_sqlite_driver=("sqlite", sqlalchemy_autocommit("pysqlite", connect_args={"isolation_level": None})),
    sqlalchemy_sqlite_option=("sqlite", sqlalchemy_autocommit_option("pysqlite")),
    sqlalchemy_sqlite_session_option=("sqlite", sqlalchemy_session_autocommit_option("pysqlite")),
    sqlalchemy_sqlite_engine_option=("sqlite", sqlalchemy_engine_option("pysqlite")),
    sqlalchemy_aiosqlite=("sqlite", sqlalchemy_aiosqlite_autocommit),
    sqlalchemy_session_without_autobegin=("sqlite", given(sqlalchemy_session_without_autobegin)),
    django=("postgres", given(django_outside_atomic)),
    django_sqlite=("sqlite", given(django_outside_atomic)),
)
async def test_a_handle_that_would_commit_by_itself_is_refused(outside: Outside, open: Opened) -> None:
    async with open(outside.store) as handle:
        with pytest.raises(AutocommitTransaction):
            await enqueue(outside.store, handle, outside.identity)
    jobs = {"sqlite": "remit_job", "postgres": "remit.job"}[outside.store.dialect]
    assert outside.execute(f"SELECT count(*) FROM {jobs}")[0][0] == 0


def test_autocommit_may_stand_in_an_attribute() -> None:
    """As in Python 3.12; on the connection of aiosqlite, it stands on the one that it wraps."""
    driver: Any = SimpleNamespace(in_transaction=False, isolation_level="", autocommit=True)
    wrapper: Any = SimpleNamespace(in_transaction=False, isolation_level="", _conn=driver)
    with pytest.raises(AutocommitTransaction):
        must_begin(driver)
    with pytest.raises(AutocommitTransaction):
        must_begin(wrapper)
    driver.autocommit = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL
    assert must_begin(driver)
    driver.in_transaction = driver.autocommit = True
    assert not must_begin(driver)


@since_312
@cases(
    sqlite3=("sqlite", given(sqlite3_autocommit_attribute)),
    aiosqlite=("sqlite", aiosqlite_autocommit_attribute),
)
async def test_autocommit_as_an_attribute_is_refused_too(outside: Outside, open: Opened) -> None:
    async with open(outside.store) as handle:
        with pytest.raises(AutocommitTransaction):
            await enqueue(outside.store, handle, outside.identity)


@pytest.mark.parametrize("outside", ["postgres"], indirect=True)
async def test_a_transaction_that_ended_after_its_adoption_is_refused(outside: Outside) -> None:
    with psycopg.connect(url_of(outside.store), autocommit=True) as connection:
        with connection.transaction():
            transaction = outside.store.adopt(connection)
        with pytest.raises(AutocommitTransaction, match=r"connection\.transaction"):
            await operations.enqueue(transaction, [job()], store=outside.identity)


FAILING = [
    *[pytest.param("postgres", kind, id=f"postgres-{name}") for name, kind in POSTGRES.items() if "pipe" not in name],
    *[pytest.param("sqlite", SQLITE[name], id=f"sqlite-{name}") for name in ("django",)],
]


@pytest.mark.parametrize("outside, kind", FAILING, indirect=["outside"])
async def test_a_transaction_that_has_failed_is_refused(outside: Outside, kind: Kind) -> None:
    async with kind(outside.store) as caller:
        with pytest.raises(Exception, match="nowhere"):
            await fail(caller)
        with pytest.raises(TransactionError, match=r"has failed already.*roll it back"):
            await enqueue(outside.store, caller.handle, outside.identity)
        await caller.rolls_back()


async def fail(caller: Caller) -> None:
    if type(caller.handle).__module__.startswith("django") and caller.handle.in_atomic_block:
        try:
            await caller.does("SELECT * FROM nowhere")
        finally:
            caller.handle.set_rollback(True)  # as an atomic block inside does
    else:
        await caller.does("SELECT * FROM nowhere")


@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
async def test_a_session_whose_flush_failed_is_refused(outside: Outside) -> None:
    class Base(DeclarativeBase):
        pass

    class Nowhere(Base):
        __tablename__ = "nowhere"
        id = sa.Column(sa.Integer, primary_key=True)

    with engine(outside.store, "pysqlite") as it, Session(it) as session:
        session.add(Nowhere(id=1))
        with pytest.raises(OperationalError):
            session.flush()
        with pytest.raises(TransactionError, match="has failed already"):
            outside.store.adopt(session)
        session.rollback()
        outside.store.adopt(session)


@pytest.mark.parametrize("outside", ["postgres"], indirect=True)
async def test_an_error_of_the_callers_own_in_a_pipeline_stays_its_own(outside: Outside) -> None:
    with psycopg.connect(url_of(outside.store)) as connection, connection.pipeline():
        connection.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg.errors.UndefinedTable):
            await enqueue(outside.store, connection, outside.identity)
        connection.rollback()


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in SQLITE.items()])
@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
async def test_a_sqlite_handle_is_refused_by_a_postgresql_store(outside: Outside, kind: Kind, postgres: Store) -> None:
    async with kind(outside.store) as caller:
        with pytest.raises(ForeignTransaction, match=r"open on SQLite, but this application's jobs are in PostgreSQL"):
            postgres.adopt(caller.handle)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in POSTGRES.items()])
@pytest.mark.parametrize("outside", ["postgres"], indirect=True)
async def test_a_postgresql_handle_is_refused_by_a_sqlite_store(outside: Outside, kind: Kind, sqlite: Store) -> None:
    async with kind(outside.store) as caller:
        with pytest.raises(ForeignTransaction, match=r"open on PostgreSQL, but this application's jobs are in SQLite"):
            sqlite.adopt(caller.handle)


@pytest.mark.parametrize(
    "outside, kind",
    [
        *[pytest.param("postgres", kind, id=f"postgres-{name}") for name, kind in POSTGRES.items()],
        *[pytest.param("sqlite", kind, id=f"sqlite-{name}") for name, kind in SQLITE.items()],
    ],
    indirect=["outside"],
)
async def test_a_database_without_remits_tables_is_told_of(outside: Outside, kind: Kind) -> None:
    if outside.store.dialect == "postgres":
        outside.execute("DROP SCHEMA remit CASCADE")
    else:
        outside.execute("DROP TABLE remit_meta")
    async with kind(outside.store) as caller:
        with pytest.raises(ForeignTransaction, match=r"without remit's tables.*remit migrate") as caught:
            await enqueue(outside.store, caller.handle)
        assert caught.value.__cause__ is not None
        await caller.rolls_back()


@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
def test_a_session_of_several_engines_must_say_which(outside: Outside) -> None:
    class Base(DeclarativeBase):
        pass

    with engine(outside.store, "pysqlite") as it, Session(binds={Base: it}) as session:
        with pytest.raises(UnsupportedHandle, match=r"pass session\.connection"):
            outside.store.adopt(session)
        outside.store.adopt(session.connection(bind_arguments={"bind": it}))


@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
def test_a_parameter_style_of_nobody_is_refused(outside: Outside) -> None:
    it = sa.create_engine(url_of(outside.store), paramstyle="numeric")
    with pytest.raises(UnsupportedHandle, match="create the engine without `paramstyle`"):
        outside.store.adopt(Session(it))


@pytest.mark.parametrize(
    "kind", [pytest.param(SQLITE[name], id=name) for name in ("sqlite3-begun-by-hand", "sqlalchemy-begin-events")]
)
@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
async def test_a_transaction_that_read_before_another_wrote_is_told_to_begin_immediate(
    outside: Outside,
    kind: Kind,
) -> None:
    async with kind(outside.store) as caller:
        await caller.does("SELECT count(*) FROM note")
        outside.enqueue()
        with pytest.raises(StoreBusy, match="BEGIN IMMEDIATE"):
            await enqueue(outside.store, caller.handle, outside.identity)
        await caller.rolls_back()


@pytest.mark.parametrize("outside", ["sqlite"], indirect=True)
async def test_other_errors_of_the_driver_stay_its_own(outside: Outside) -> None:
    with sqlite_connection(outside.store, timeout=0) as connection, outside.store.blocking(Role.CLIENT).session():
        transaction = outside.store.adopt(connection)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await operations.enqueue(transaction, [job()], store=outside.identity)

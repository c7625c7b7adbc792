"""Every kind of handle that a caller may bring, opened on a database and driven in the words of its library."""

import inspect
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from remit.client import records
from remit.db.postgres import PostgresStore
from remit.db.sqlite import SqliteStore
from remit.db.store import Store
from remit.db.transaction import Role, run_blocking
from remit.jobs import operations
from remit.jobs.ids import new_id


@dataclass
class Caller:
    """An open handle, and what its owner does with it."""

    handle: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    is_open: Callable[[], bool]
    blocking: bool = field(default=True)

    async def does(self, sql: str) -> None:
        await settled(self.execute(sql))

    async def commits(self) -> None:
        await settled(self.commit())

    async def rolls_back(self) -> None:
        await settled(self.rollback())


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


NOW = 1_800_000_000_000_000
"""The virtual time of these tests."""

WORKER = "01900000-0000-7000-8000-0000000000ff"
REGISTER = {
    "postgres": f"INSERT INTO remit.worker VALUES ('{WORKER}', 0, now(), now(), 'host', 1, '')",
    "sqlite": f"INSERT INTO remit_worker VALUES ('{WORKER}', 0, 0, 0, 'host', 1, '', '')",
}

Kind = Callable[[Store], AbstractAsyncContextManager[Caller]]


def url_of(store: Store) -> str:
    if isinstance(store, PostgresStore):
        return store.url
    assert isinstance(store, SqliteStore)
    return f"sqlite:///{store.path}"


def path_of(store: Store) -> str:
    assert isinstance(store, SqliteStore)
    return str(store.path)


def job(**changes: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "line": 7,
        "version": 1,
        "priority": 0,
        "attempts": 3,
        "domain": "billing",
        "queue": "billing.default",
        "name": "billing.sync-invoice",
        "encoding": "json",
        "payload": '{"text":"100 % of %s and :name, ? and $1 \\ud800"}',
        **changes,
    }


class Outside:
    """The store seen by somebody else, on another connection."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.database = store.blocking(Role.HANDLER)  # whose search path is the caller's
        self.identity = self.database.run(operations.store, atomic=False)

    def has(self, id: str) -> bool:
        return self.database.run(lambda tx: records.get(tx, id), atomic=False) is not None

    def execute(self, sql: str) -> list[Any]:
        with self.database.session() as session:
            return run_blocking(session.execute(sql))

    def notes(self) -> list[str]:
        return [row[0] for row in self.execute("SELECT text FROM note ORDER BY text")]

    def enqueue(self) -> str:
        row = job()
        self.database.run(lambda tx: operations.enqueue(tx, [row], store=self.identity))
        return str(row["id"])


def psycopg_caller(connection: Any, blocking: bool) -> Caller:
    return Caller(
        connection,
        connection.execute,
        connection.commit,
        connection.rollback,
        lambda: connection.info.transaction_status.name == "INTRANS",
        blocking,
    )


@asynccontextmanager
async def psycopg_blocking(store: Store) -> AsyncIterator[Caller]:
    with psycopg.connect(url_of(store)) as connection:
        yield psycopg_caller(connection, True)
        connection.rollback()


@asynccontextmanager
async def psycopg_dressed_up(store: Store) -> AsyncIterator[Caller]:
    """Dictionaries for rows, and parameters bound in the client."""
    factories: dict[str, Any] = {"row_factory": dict_row, "cursor_factory": psycopg.ClientCursor}
    with psycopg.connect(url_of(store), **factories) as connection:
        yield psycopg_caller(connection, True)
        connection.rollback()


@asynccontextmanager
async def psycopg_asyncio(store: Store) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(url_of(store)) as connection:
        yield psycopg_caller(connection, False)
        await connection.rollback()


@asynccontextmanager
async def psycopg_autocommit_in_a_block(store: Store) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(url_of(store), autocommit=True) as connection:
        await connection.execute("BEGIN")
        yield psycopg_caller(connection, False)


@asynccontextmanager
async def psycopg_pipeline(store: Store) -> AsyncIterator[Caller]:
    with psycopg.connect(url_of(store)) as connection, connection.pipeline() as pipeline:

        def is_open() -> bool:
            pipeline.sync()
            return connection.info.transaction_status.name == "INTRANS"

        def execute(sql: str) -> None:
            connection.execute(sql.encode())

        yield Caller(connection, execute, connection.commit, connection.rollback, is_open)


@asynccontextmanager
async def psycopg_asyncio_pipeline(store: Store) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(url_of(store)) as connection, connection.pipeline() as pipeline:

        async def execute(sql: str) -> None:
            await connection.execute(sql.encode())
            await pipeline.sync()

        yield Caller(
            connection,
            execute,
            connection.commit,
            connection.rollback,
            lambda: connection.info.transaction_status.name == "INTRANS",
            False,
        )


async def asyncpg_caller(connection: Any) -> Caller:
    transaction = connection.transaction()
    await transaction.start()
    return Caller(
        connection, connection.execute, transaction.commit, transaction.rollback, connection.is_in_transaction, False
    )


@asynccontextmanager
async def asyncpg_connection(store: Store) -> AsyncIterator[Caller]:
    connection = await asyncpg.connect(url_of(store))
    try:
        yield await asyncpg_caller(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def asyncpg_pool(store: Store) -> AsyncIterator[Caller]:
    async with asyncpg.create_pool(url_of(store), min_size=1) as pool, pool.acquire() as connection:
        yield await asyncpg_caller(connection)


def sqlite_caller(connection: Any, blocking: bool = True) -> Caller:
    return Caller(
        connection,
        connection.execute,
        connection.commit,
        connection.rollback,
        lambda: bool(connection.in_transaction),
        blocking,
    )


@contextmanager
def sqlite_connection(store: Store, **options: Any) -> Any:
    import sqlite3

    connection = sqlite3.connect(path_of(store), **options)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def sqlite3_legacy(store: Store) -> AsyncIterator[Caller]:
    with sqlite_connection(store) as connection:
        yield sqlite_caller(connection)


@asynccontextmanager
async def sqlite3_begun_by_hand(store: Store) -> AsyncIterator[Caller]:
    with sqlite_connection(store, isolation_level=None) as connection:
        connection.execute("BEGIN")
        yield sqlite_caller(connection)


@asynccontextmanager
async def sqlite3_dressed_up(store: Store) -> AsyncIterator[Caller]:
    """Rows that are dictionaries, texts that are bytes."""
    with sqlite_connection(store, isolation_level="EXCLUSIVE") as connection:
        connection.row_factory = lambda cursor, row: dict(zip((c[0] for c in cursor.description), row, strict=True))
        connection.text_factory = bytes
        yield sqlite_caller(connection)
        assert connection.text_factory is bytes


@asynccontextmanager
async def aiosqlite_connection(store: Store) -> AsyncIterator[Caller]:
    async with aiosqlite.connect(path_of(store)) as connection:
        yield sqlite_caller(connection, False)


@asynccontextmanager
async def aiosqlite_dressed_up(store: Store) -> AsyncIterator[Caller]:
    async with aiosqlite.connect(path_of(store), isolation_level=None) as connection:
        connection.row_factory = aiosqlite.Row
        connection.text_factory = bytes
        await connection.execute("BEGIN")
        yield sqlite_caller(connection, False)
        assert connection.text_factory is bytes


def sqlalchemy_caller(handle: Any, blocking: bool = True) -> Caller:
    def is_open() -> bool:
        one = handle() if "scoped" in type(handle).__name__ else handle
        return bool(one.in_transaction())

    return Caller(
        handle,
        lambda sql: handle.execute(sa.text(sql), execution_options={"stream_results": False}),
        handle.commit,
        handle.rollback,
        is_open,
        blocking,
    )


def sqlalchemy_url(store: Store, driver: str) -> str:
    return url_of(store).replace("://", f"+{driver}://", 1)


@contextmanager
def engine(store: Store, driver: str, **options: Any) -> Any:
    it = sa.create_engine(sqlalchemy_url(store, driver), **options)
    try:
        yield it
    finally:
        it.dispose()


@asynccontextmanager
async def async_engine(store: Store, driver: str, **options: Any) -> AsyncIterator[Any]:
    it = create_async_engine(sqlalchemy_url(store, driver), **options)
    try:
        yield it
    finally:
        await it.dispose()


def sqlalchemy_connection(driver: str, **options: Any) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        with engine(store, driver, **options) as it, it.connect() as connection:
            yield sqlalchemy_caller(connection)

    return kind


def sqlalchemy_session(driver: str, **options: Any) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        with engine(store, driver, **options) as it, Session(it) as session:
            yield sqlalchemy_caller(session)

    return kind


def sqlalchemy_scoped_session(driver: str) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        with engine(store, driver) as it:
            session = scoped_session(sessionmaker(it))
            yield sqlalchemy_caller(session)
            session.remove()

    return kind


def sqlalchemy_async_connection(driver: str) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        async with async_engine(store, driver) as it, it.connect() as connection:
            yield sqlalchemy_caller(connection, False)

    return kind


def sqlalchemy_async_session(driver: str, **options: Any) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        async with async_engine(store, driver, **options) as it, AsyncSession(it) as session:
            yield sqlalchemy_caller(session, False)

    return kind


def sqlalchemy_async_scoped_session(driver: str) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        async with async_engine(store, driver) as it:
            session = async_scoped_session(async_sessionmaker(it), scopefunc=lambda: "this")
            yield sqlalchemy_caller(session, False)
            await session.remove()

    return kind


@asynccontextmanager
async def sqlalchemy_sqlite_with_begin_events(store: Store) -> AsyncIterator[Caller]:
    """What SQLAlchemy's pages recommend for SQLite: the driver in autocommit mode, BEGIN sent by a listener."""
    with engine(store, "pysqlite") as it:

        @event.listens_for(it, "connect")
        def connect(connection: Any, _: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(it, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        with it.connect() as connection:
            yield sqlalchemy_caller(connection)


@contextmanager
def django_connection(store: Store) -> Any:
    """A proxy like `django.db.connection`, on an alias of its own."""
    import django
    from django.conf import settings
    from django.db import connections
    from django.utils.connection import ConnectionProxy

    if not settings.configured:
        settings.configure(DATABASES={}, USE_TZ=True)
        django.setup()
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # these tests run on an event loop, for the sake of the other kinds
    if isinstance(store, PostgresStore):
        info = conninfo_to_dict(store.url)
        config = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": info["dbname"],
            "USER": info.get("user", ""),
            "PASSWORD": info.get("password", ""),
            "HOST": info["host"],
            "PORT": info["port"],
        }
    else:
        config = {"ENGINE": "django.db.backends.sqlite3", "NAME": path_of(store)}
    databases: Any = connections.settings
    databases["remit"] = connections.configure_settings({"default": config})["default"]
    try:
        yield ConnectionProxy(connections, "remit")
    finally:
        connections["remit"].close()
        del connections["remit"], databases["remit"]
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def atomic() -> Any:
    """A block of Django's on that connection."""
    from django.db import transaction

    return transaction.atomic(using="remit")


def django_execute(connection: Any) -> Callable[[str], None]:
    def execute(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return execute


def django_atomic(*, bare: bool = False, debug: bool = False) -> Kind:
    @asynccontextmanager
    async def kind(store: Store) -> AsyncIterator[Caller]:
        from django.db import connections

        with django_connection(store) as connection:
            connection.force_debug_cursor = debug
            block = atomic()
            block.__enter__()

            def leave(rollback: bool) -> None:
                connection.set_rollback(rollback or connection.needs_rollback)
                block.__exit__(None, None, None)

            yield Caller(
                connections["remit"] if bare else connection,
                django_execute(connection),
                lambda: leave(False),
                lambda: leave(True),
                lambda: bool(connection.in_atomic_block),
            )
            if connection.in_atomic_block:
                leave(True)

    return kind


@asynccontextmanager
async def django_without_autocommit(store: Store) -> AsyncIterator[Caller]:
    with django_connection(store) as connection:
        connection.set_autocommit(False)
        yield Caller(
            connection,
            django_execute(connection),
            connection.commit,
            connection.rollback,
            lambda: not connection.get_autocommit(),
        )
        connection.rollback()


POSTGRES: dict[str, Kind] = {
    "psycopg": psycopg_blocking,
    "psycopg-dressed-up": psycopg_dressed_up,
    "psycopg-asyncio": psycopg_asyncio,
    "psycopg-autocommit-in-a-block": psycopg_autocommit_in_a_block,
    "psycopg-pipeline": psycopg_pipeline,
    "psycopg-asyncio-pipeline": psycopg_asyncio_pipeline,
    "asyncpg": asyncpg_connection,
    "asyncpg-pool": asyncpg_pool,
    "sqlalchemy-connection": sqlalchemy_connection("psycopg"),
    "sqlalchemy-session": sqlalchemy_session("psycopg"),
    "sqlalchemy-scoped-session": sqlalchemy_scoped_session("psycopg"),
    "sqlalchemy-session-streaming": sqlalchemy_session("psycopg", execution_options={"stream_results": True}),
    "sqlalchemy-async-connection-asyncpg": sqlalchemy_async_connection("asyncpg"),
    "sqlalchemy-async-session-asyncpg": sqlalchemy_async_session("asyncpg"),
    "sqlalchemy-async-scoped-session-asyncpg": sqlalchemy_async_scoped_session("asyncpg"),
    "sqlalchemy-async-session-psycopg": sqlalchemy_async_session("psycopg"),
    "django": django_atomic(),
    "django-wrapper-in-debug": django_atomic(bare=True, debug=True),
    "django-without-autocommit": django_without_autocommit,
}

SQLITE: dict[str, Kind] = {
    "sqlite3": sqlite3_legacy,
    "sqlite3-begun-by-hand": sqlite3_begun_by_hand,
    "sqlite3-dressed-up": sqlite3_dressed_up,
    "aiosqlite": aiosqlite_connection,
    "aiosqlite-dressed-up": aiosqlite_dressed_up,
    "sqlalchemy-connection": sqlalchemy_connection("pysqlite"),
    "sqlalchemy-session": sqlalchemy_session("pysqlite"),
    "sqlalchemy-session-named": sqlalchemy_session("pysqlite", paramstyle="named"),
    "sqlalchemy-begin-events": sqlalchemy_sqlite_with_begin_events,
    "sqlalchemy-async-connection": sqlalchemy_async_connection("aiosqlite"),
    "sqlalchemy-async-session": sqlalchemy_async_session("aiosqlite"),
    "django": django_atomic(),
    "django-wrapper-in-debug": django_atomic(bare=True, debug=True),
    "django-without-autocommit": django_without_autocommit,
}


@asynccontextmanager
async def own_session(store: Store) -> AsyncIterator[Any]:
    """What `run.transaction()` yields to an asyncio handler."""
    database = store.database(Role.HANDLER)
    try:
        async with database.session() as session:
            yield session
    finally:
        await database.close()

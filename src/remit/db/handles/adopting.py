"""From the type of a handle to what adopts it, by name: nothing is imported that the caller does not use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard, TypeVar

from remit.db.handles.adopted import Adopted, FillParams, HandleContext
from remit.db.handles.django import Django
from remit.db.handles.postgres import Asyncpg, AwaitingPsycopg, BlockingPsycopg
from remit.db.handles.sqlalchemy import AwaitingConnection, AwaitingSession, BlockingConnection, BlockingSession
from remit.db.handles.sqlite import Aiosqlite, BlockingSqlite3
from remit.db.handles.words import ENGINES, engine_name, type_name
from remit.db.statements import Dialect
from remit.db.transaction import Transaction
from remit.errors import ForeignTransaction, UnsupportedHandle

E = TypeVar("E")
_Adaptor: TypeAlias = Callable[[Any, HandleContext], Adopted[Any]]

ACCEPTED = (
    "a SQLAlchemy Session, AsyncSession, Connection or AsyncConnection, a psycopg Connection or AsyncConnection, an "
    "asyncpg, sqlite3 or aiosqlite Connection, Django's connection, or what run.transaction() gives"
)

ADAPTORS: dict[str, _Adaptor] = {
    "sqlalchemy.orm.session.Session": BlockingSession,
    "sqlalchemy.orm.scoping.scoped_session": lambda handle, context: BlockingSession(handle(), context),
    "sqlalchemy.engine.base.Connection": BlockingConnection,
    "sqlalchemy.ext.asyncio.session.AsyncSession": AwaitingSession,
    "sqlalchemy.ext.asyncio.scoping.async_scoped_session": lambda handle, context: AwaitingSession(handle(), context),
    "sqlalchemy.ext.asyncio.engine.AsyncConnection": AwaitingConnection,
    "psycopg.Connection": BlockingPsycopg,
    "psycopg.AsyncConnection": AwaitingPsycopg,
    "asyncpg.connection.Connection": Asyncpg,
    "asyncpg.pool.PoolConnectionProxy": Asyncpg,
    "sqlite3.Connection": BlockingSqlite3,
    "aiosqlite.core.Connection": Aiosqlite,
    "django.utils.connection.ConnectionProxy": Django,
    "django.db.backends.base.base.BaseDatabaseWrapper": Django,
}

_INSTEAD = "pass a connection or session, not {}"
_OF_A_BLOCK = "pass the connection or session that it was begun on, not {}"

NEIGHBOURS: dict[str, tuple[str, str]] = {
    "sqlalchemy.engine.base.Engine": ("an engine", _INSTEAD),
    "sqlalchemy.ext.asyncio.engine.AsyncEngine": ("an engine", _INSTEAD),
    "sqlalchemy.orm.session.sessionmaker": ("a session factory", _INSTEAD),
    "sqlalchemy.ext.asyncio.session.async_sessionmaker": ("a session factory", _INSTEAD),
    "sqlalchemy.pool.base.Pool": ("a pool", _INSTEAD),
    "sqlalchemy.pool.base.PoolProxiedConnection": (
        "the driver's connection",
        "pass SQLAlchemy's own connection or session, not {}",
    ),
    "sqlalchemy.engine.base.Transaction": ("a transaction object", _OF_A_BLOCK),
    "sqlalchemy.orm.session.SessionTransaction": ("a transaction object", _OF_A_BLOCK),
    "sqlalchemy.ext.asyncio.engine.AsyncTransaction": ("a transaction object", _OF_A_BLOCK),
    "sqlalchemy.ext.asyncio.session.AsyncSessionTransaction": ("a transaction object", _OF_A_BLOCK),
    "psycopg._cursor_base.BaseCursor": ("a cursor", _INSTEAD),
    "psycopg.transaction.BaseTransaction": ("a transaction object", _OF_A_BLOCK),
    "psycopg_pool.base.BasePool": ("a pool", _INSTEAD),
    "asyncpg.pool.Pool": ("a pool", _INSTEAD),
    "asyncpg.transaction.Transaction": ("a transaction object", _OF_A_BLOCK),
    "sqlite3.Cursor": ("a cursor", _INSTEAD),
    "aiosqlite.cursor.Cursor": ("a cursor", _INSTEAD),
    "django.db.backends.utils.CursorWrapper": ("a cursor", _INSTEAD),
    "django.db.utils.ConnectionHandler": (
        "the collection of all connections",
        "pass one of them, such as connections['default'], not {}",
    ),
}
"""What people pass by mistake, what it is, and what to do instead."""


def adopt(handle: object, dialect: Dialect, schema: str, fill_params: FillParams) -> Transaction:
    """See the caller's handle as a transaction of a store; nothing is begun, committed or closed by that.

    `fill_params` adds the parameters that the store gives to every statement. A transaction of remit's own, such as
    `run.transaction()` yields, is returned as it is.

    Raises `UnsupportedHandle`, `ClosedTransaction`, `AutocommitTransaction`, `ForeignTransaction`, or
    `TransactionError` where the transaction has failed already.
    """
    context = HandleContext(dialect, schema, fill_params)
    if _is_own(handle):
        _refuse_foreign(handle, handle.dialect, dialect)
        driver = getattr(handle, "connection", None)
        if adaptor := _find(ADAPTORS, driver):
            adaptor(driver, context).check()  # its block may have ended
        return handle
    adaptor = _find(ADAPTORS, handle)
    if adaptor is None or (adaptor is Django and not hasattr(handle, "vendor")):  # Django's caches have such proxies
        raise _unsupported(handle)
    adopted = adaptor(handle, context)
    _refuse_foreign(handle, adopted.engine, dialect)
    adopted.check()
    return adopted


def is_blocking(transaction: Transaction) -> bool:
    """Whether an adopted transaction never suspends, so that blocking code can use it."""
    return transaction.blocking


def _is_own(handle: object) -> TypeGuard[Transaction]:
    return hasattr(handle, "fetch") and isinstance(getattr(handle, "dialect", None), str)


def _find(table: dict[str, E], handle: object) -> E | None:
    """The entry for a type or the nearest of its bases."""
    for kind in type(handle).__mro__:
        entry = table.get(f"{kind.__module__}.{kind.__qualname__}")
        if entry is not None:
            return entry
    return None


def _refuse_foreign(handle: object, engine: str, dialect: Dialect) -> None:
    if engine != dialect:
        raise ForeignTransaction(
            f"tx ({type_name(handle)}) is open on {engine_name(engine)}, but this application's jobs are in "
            f"{ENGINES[dialect]}: pass a handle on that database, or leave tx out for a transaction of its own"
        )


def _unsupported(handle: object) -> UnsupportedHandle:
    if known := _find(NEIGHBOURS, handle):
        what, advice = known
        return UnsupportedHandle(f"tx is {what} ({type_name(handle)}): {advice.format(what)}")
    return UnsupportedHandle(f"tx is of type {type_name(handle)}, on which remit cannot execute: pass {ACCEPTED}")

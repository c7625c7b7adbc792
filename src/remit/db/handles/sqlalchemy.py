"""Sessions and connections of SQLAlchemy, always through its own connection, never the driver's under it.

The order matters: with asyncpg, SQLAlchemy begins the transaction at its own first statement, so a row that was sent
on the driver's connection before that was committed at once and survived the rollback.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from remit.db.handles.adopted import Adopted, Arguments, HandleContext, Statement, must_begin
from remit.db.handles.words import FAILED
from remit.db.statements import Style
from remit.db.transaction import Row
from remit.errors import AutocommitTransaction, ClosedTransaction, TransactionError, UnsupportedHandle

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

S = TypeVar("S", bound="Connection | Session")
A = TypeVar("A", bound="AsyncConnection | AsyncSession")

_STYLES: dict[str, Style] = {
    "pyformat": "pyformat",  # psycopg, psycopg2
    "format": "format",  # pg8000
    "numeric_dollar": "numbered",  # asyncpg
    "qmark": "qmark",  # sqlite3, aiosqlite
    "named": "named",
}

_PLAINLY = {"stream_results": False, "yield_per": None, "no_parameters": False}
"""Against what the caller may have set for its own queries: a cursor of the server takes no INSERT."""

_AUTOCOMMIT = (
    "this SQLAlchemy {} is in autocommit mode (isolation_level AUTOCOMMIT), so the send would commit by itself: use an "
    "engine with transactions, or leave tx out"
)


class _Sqlalchemy(Adopted[S]):
    """What sessions and connections share: a dialect to ask, and a connection to execute on."""

    def __init__(self, handle: S, context: HandleContext) -> None:
        super().__init__(handle, context)
        with _in_words():
            self.bind = self.find_bind()
        dialect = self.bind.dialect
        self.engine = "postgres" if dialect.name == "postgresql" else dialect.name
        if dialect.paramstyle not in _STYLES:
            raise UnsupportedHandle(
                f"remit does not write SQL parameters in the style {dialect.paramstyle!r} of the SQLAlchemy engine of "
                f"this {type(handle).__name__}: create the engine without `paramstyle`"
            )
        self.style = _STYLES[dialect.paramstyle]

    @abstractmethod
    def find_bind(self) -> Connection | Engine:
        """Where the handle sends its statements."""

    @abstractmethod
    def connect(self) -> Connection:
        """The connection of the handle's transaction, which may begin by that."""

    def check(self) -> None:
        level = self.bind.get_execution_options().get("isolation_level")
        level = level or getattr(self.bind.dialect, "_on_connect_isolation_level", None)  # of create_engine
        if level == "AUTOCOMMIT" and self.engine == "postgres":  # SQLite may be in a transaction nevertheless
            raise AutocommitTransaction(_AUTOCOMMIT.format(type(self.handle).__name__))

    def will_be_prepared(self) -> bool:
        from sqlalchemy import Connection, TwoPhaseTransaction

        if getattr(self.handle, "twophase", False):
            return True
        return isinstance(self.bind, Connection) and isinstance(self.bind.get_transaction(), TwoPhaseTransaction)

    async def run(self, statement: Statement) -> list[Row]:
        return self.execute(statement)

    def execute(self, statement: Statement) -> list[Row]:
        """Run a statement in the handle's transaction."""
        with _in_words():
            connection = self.connect()
            if statement.writes and self._must_begin(connection):
                statement = statement.begun()
            return statement.run(lambda text, arguments: _execute(connection, text, arguments))

    def _must_begin(self, connection: Connection) -> bool:
        """Ask the driver how things really are: an option, an event or an argument may have set it to autocommit."""
        if self.engine == "sqlite":
            if not connection.in_transaction():
                connection.begin()  # as the statement would; a listener of the event may send a BEGIN of its own
            return must_begin(connection.connection.driver_connection)  # type: ignore[arg-type]
        if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
            raise AutocommitTransaction(_AUTOCOMMIT.format(type(self.handle).__name__))
        return False


class BlockingConnection(_Sqlalchemy["Connection"]):
    """A `sqlalchemy.Connection`; one that has not begun begins, as with any statement of its owner's."""

    def find_bind(self) -> Connection:
        return self.handle

    def connect(self) -> Connection:
        return self.handle

    def check(self) -> None:
        if self.handle.closed:
            raise ClosedTransaction("this SQLAlchemy Connection is closed: pass an open one")
        super().check()


class BlockingSession(_Sqlalchemy["Session"]):
    """A `sqlalchemy.orm.Session`; one that has not begun begins, as with any statement of its owner's."""

    def find_bind(self) -> Connection | Engine:
        return self.handle.get_bind()

    def connect(self) -> Connection:
        return self.handle.connection()

    def check(self) -> None:
        if not self.handle.in_transaction() and not getattr(self.handle, "autobegin", True):
            raise AutocommitTransaction("this SQLAlchemy Session begins nothing by itself: call session.begin() first")
        if not self.handle.is_active:
            raise TransactionError(FAILED)
        super().check()


class _Awaiting(Adopted[A]):
    """An asyncio handle: its blocking twin does the work, on the greenlet where SQLAlchemy lets it wait."""

    blocking = False

    def __init__(self, handle: A, twin: _Sqlalchemy[Any]) -> None:
        super().__init__(handle, twin.context)
        self.twin = twin
        self.engine, self.style = twin.engine, twin.style

    def check(self) -> None:
        self.twin.check()

    def will_be_prepared(self) -> bool:
        return self.twin.will_be_prepared()

    async def run(self, statement: Statement) -> list[Row]:
        return await self.handle.run_sync(lambda _: self.twin.execute(statement))


class AwaitingConnection(_Awaiting["AsyncConnection"]):
    """A `sqlalchemy.ext.asyncio.AsyncConnection`."""

    def __init__(self, handle: AsyncConnection, context: HandleContext) -> None:
        if handle.sync_connection is None:
            raise ClosedTransaction(
                "this SQLAlchemy AsyncConnection is not open: pass what `async with engine.connect()` gives"
            )
        super().__init__(handle, BlockingConnection(handle.sync_connection, context))


class AwaitingSession(_Awaiting["AsyncSession"]):
    """A `sqlalchemy.ext.asyncio.AsyncSession`."""

    def __init__(self, handle: AsyncSession, context: HandleContext) -> None:
        super().__init__(handle, BlockingSession(handle.sync_session, context))


def _execute(connection: Connection, text: str, arguments: Arguments) -> list[Row]:
    result = connection.exec_driver_sql(text, arguments, execution_options=_PLAINLY)
    return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in remit's words that a handle is no good, where SQLAlchemy says so."""
    from sqlalchemy import exc

    try:
        yield
    except exc.PendingRollbackError as error:
        raise TransactionError(FAILED) from error
    except exc.UnboundExecutionError as error:
        raise UnsupportedHandle(
            "this SQLAlchemy session has several engines and no default: pass session.connection(…) of the one that "
            "holds this application's jobs"
        ) from error
    except exc.ResourceClosedError as error:
        raise ClosedTransaction(f"SQLAlchemy says: {error}") from error
    except exc.InvalidRequestError as error:
        if "concurrent" in str(error):  # a fault of the caller's, which SQLAlchemy explains best
            raise
        raise ClosedTransaction(f"this transaction has ended; SQLAlchemy says: {error}") from error

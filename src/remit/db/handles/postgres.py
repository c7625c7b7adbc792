"""Connections of psycopg and asyncpg. Neither library is imported here: whoever brings a handle has loaded its own."""

from __future__ import annotations

from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from remit.db.handles.adopted import Adopted, Statement
from remit.db.handles.words import FAILED
from remit.db.statements import Style
from remit.db.transaction import Row
from remit.errors import AutocommitTransaction, ClosedTransaction, TransactionError

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncRawCursor, Connection, RawCursor

_IDLE, _IN_ERROR = 0, 3
"""Of libpq's PGTransactionStatusType."""
C = TypeVar("C", bound="Connection[Any] | AsyncConnection[Any]")


@cache
def _cursor(name: str) -> Any:
    """A class of psycopg's cursors that give tuples, whatever the connection is set to."""
    return partial(getattr(import_module("psycopg"), name), row_factory=import_module("psycopg.rows").tuple_row)


@cache
def _encoded(text: str) -> bytes:
    """The same object each time, so that psycopg finds what it prepared without reading the text."""
    return text.encode()


def _has_rows(cursor: RawCursor[Row] | AsyncRawCursor[Row]) -> bool:
    """Whether there is a result to read, perhaps an empty one: `description` would make an object for each column."""
    return cursor.rownumber is not None


class _Psycopg(Adopted[C]):
    """A connection of psycopg, in any of its modes: autocommit around a block, pipeline, factories of its own."""

    engine = "postgres"
    style: Style = "numbered"

    def check(self) -> None:
        if self.handle.closed:
            raise ClosedTransaction("this psycopg connection is closed: pass an open one")
        if not self.pipelined:
            self.check_status()

    def check_status(self) -> None:
        """Refuse by what the server said last; in a pipeline, that is known after a sync only."""
        status = self.handle.pgconn.transaction_status
        if status == _IN_ERROR:
            raise TransactionError(FAILED)
        if status == _IDLE and self.handle.autocommit:
            raise AutocommitTransaction(
                "this psycopg connection is in autocommit mode and outside a transaction, so the send would commit by "
                "itself: wrap it in `with connection.transaction():`, or leave tx out"
            )

    def read(self, rows: list[Row]) -> list[Row]:
        """The rows as they are, or with their texts decoded: under the client encoding SQL_ASCII those are bytes."""
        if self.handle.pgconn.parameter_status(b"client_encoding") != b"SQL_ASCII":
            return rows
        return [tuple(each.decode() if isinstance(each, bytes) else each for each in row) for row in rows]

    def will_be_prepared(self) -> bool:
        return getattr(self.handle, "_tpc", None) is not None  # begun by `tpc_begin`; psycopg has no public word for it

    @property
    def pipelined(self) -> bool:
        return bool(self.handle.pgconn.pipeline_status)


class BlockingPsycopg(_Psycopg["Connection[Any]"]):
    """A `psycopg.Connection`."""

    async def settle(self) -> None:
        if self.pipelined:
            self._sync()
            self.check_status()

    async def run(self, statement: Statement) -> list[Row]:
        cursor: RawCursor[Row] = _cursor("RawCursor")(self.handle)
        text, arguments = statement.only
        cursor.execute(_encoded(text), arguments)
        if self.pipelined:
            self._sync()  # before, nobody knows whether there are rows
        return self.read(cursor.fetchall()) if _has_rows(cursor) else []

    def _sync(self) -> None:
        with self.handle.pipeline() as pipeline:
            pipeline.sync()


class AwaitingPsycopg(_Psycopg["AsyncConnection[Any]"]):
    """A `psycopg.AsyncConnection`."""

    blocking = False

    async def settle(self) -> None:
        if self.pipelined:
            await self._sync()
            self.check_status()

    async def run(self, statement: Statement) -> list[Row]:
        cursor: AsyncRawCursor[Row] = _cursor("AsyncRawCursor")(self.handle)
        text, arguments = statement.only
        await cursor.execute(_encoded(text), arguments)
        if self.pipelined:
            await self._sync()
        return self.read(await cursor.fetchall()) if _has_rows(cursor) else []

    async def _sync(self) -> None:
        async with self.handle.pipeline() as pipeline:
            await pipeline.sync()


class Asyncpg(Adopted[Any]):
    """A connection of asyncpg, or what its pool lends."""

    blocking = False
    engine = "postgres"
    style: Style = "numbered"

    def check(self) -> None:
        try:
            closed, open_transaction = self.handle.is_closed(), self.handle.is_in_transaction()
        except import_module("asyncpg").InterfaceError as error:
            raise ClosedTransaction("this connection has gone back to its pool: pass it while it is yours") from error
        if closed:
            raise ClosedTransaction("this asyncpg connection is closed: pass an open one")
        if not open_transaction:
            raise AutocommitTransaction(
                "this asyncpg connection is outside a transaction, so the send would commit by itself: wrap it in "
                "`async with connection.transaction():`, or leave tx out"
            )

    async def run(self, statement: Statement) -> list[Row]:
        text, arguments = statement.only
        return [tuple(record) for record in await self.handle.fetch(text, *arguments)]

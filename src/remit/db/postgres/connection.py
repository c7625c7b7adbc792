"""Statements on psycopg connections, asyncio and blocking, and the short transactions of remit's own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import psycopg

from remit.db.postgres.connections import AwaitingConnections, BlockingConnections
from remit.db.postgres.sessions import AwaitingSession, BlockingSession, Statement, statement
from remit.db.statements import Dialect, Query
from remit.db.transaction import Row, Value, Work, run_blocking
from remit.errors import LeaseLost, RemitError, StoreBusy, StoreError, StoreUnavailable, WrongSchema
from remit.telemetry import one_line

T = TypeVar("T")
Params = Sequence[object] | dict[str, object]

TRIES = 3
"""How often an operation is tried when the server, not the operation, is at fault."""
SLOW, BETWEEN_PLANS = 0.005, 1.0
"""Seconds after which a kept plan is suspected, and between two such suspicions."""

_BUSY = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
)
_GONE = (
    psycopg.errors.ReadOnlySqlTransaction,  # a failover left us with the old primary
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
_NO_SCHEMA = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedFunction,
              psycopg.errors.UndefinedColumn)  # fmt: skip
_NOT_PREPARED = psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement


@dataclass(frozen=True, slots=True)
class StatementContext:
    """What every statement of one store needs beside its own parameters.

    `gate` and `channel` are the lock and the channel of the wakeup; `now` is a test's virtual time in microseconds.
    """

    schema: str
    gate: int
    channel: str
    now: int | None

    def spell(self, query: Query, params: dict[str, Value]) -> tuple[Statement, list[object]]:
        """The statement for a session of our own, and its arguments in order."""
        spelled = statement(query, self.schema)
        filled = self.fill_params(params)
        return spelled, [filled[name] for name in spelled.names]

    def fill_params(self, params: dict[str, Value]) -> dict[str, object]:
        """The parameters of a statement, with those that the store gives."""
        return {"now": self.now, "gate": self.gate, "channel": self.channel, **params}


def translate(error: psycopg.Error) -> RemitError:
    """remit's word for what the driver said."""
    message = one_line(error)
    if error.sqlstate == "RM001":
        return LeaseLost(message)
    if isinstance(error, _BUSY):
        return StoreBusy(message)
    if isinstance(error, _NOT_PREPARED):
        return StoreError(
            f"the session lost what was prepared in it ({message}): if a transaction pooler stands between, say so: "
            "Remit(url, pooler=True)"
        )
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return StoreUnavailable(
            f"{message}: this server is a standby, or default_transaction_read_only is on for the database or the role"
        )
    if isinstance(error, _NO_SCHEMA):
        return WrongSchema(f"the database lacks what this version of remit needs ({message}): run `remit migrate`")
    if isinstance(error, _GONE) or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None):
        return StoreUnavailable(message)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(message)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        message += ": give this role the rights that the page on operations lists under Rights on PostgreSQL"
    if isinstance(error, psycopg.errors.UntranslatableCharacter):
        message += ": the encoding of the database has no such character; create a database with ENCODING 'UTF8'"
    return StoreError(message)


class AwaitingTransaction:
    """Statements on an asyncio connection."""

    __slots__ = ("_context", "connection")
    dialect: Dialect = "postgres"
    blocking: ClassVar[bool] = False

    def __init__(self, connection: AwaitingSession, context: StatementContext) -> None:
        self.connection = connection
        self._context = context

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        return await self.connection.ask(*self._context.spell(query, params))

    async def execute(self, sql: str, params: Params = ()) -> list[Row]:
        cursor = await self.connection.execute(sql.encode(), params or None)
        return await cursor.fetchall() if cursor.description else []


class BlockingTransaction:
    """Statements on a blocking connection; they never suspend."""

    __slots__ = ("_context", "connection")
    dialect: Dialect = "postgres"
    blocking: ClassVar[bool] = True

    def __init__(self, connection: BlockingSession, context: StatementContext) -> None:
        self.connection = connection
        self._context = context

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        return self.connection.ask(*self._context.spell(query, params))

    async def execute(self, sql: str, params: Params = ()) -> list[Row]:
        cursor = self.connection.execute(sql.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def _lent() -> Iterator[None]:
    """A handler's own statements raise what the driver raises; remit's words are for what is remit's."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "RM001":
            raise translate(error) from error
        raise


def _again(error: psycopg.Error, attempt: int) -> float:
    """Seconds to wait before the next try; raises remit's word for the error when there is none."""
    word = translate(error)
    if attempt >= TRIES or not isinstance(word, StoreBusy | StoreUnavailable):
        raise word from error
    return random.random() * 0.02 * attempt


class AwaitingPostgres:
    """A PostgreSQL database used from asyncio."""

    def __init__(
        self, connections: AwaitingConnections, context: StatementContext, *, keeps_plans: bool = False
    ) -> None:
        self._connections = connections
        self._context = context
        self._keeps_plans = keeps_plans
        self._planned_at = 0.0

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._connections.connection() as connection:
                    begun = time.monotonic()
                    async with connection.transaction() if atomic else nullcontext():
                        result = await work(AwaitingTransaction(connection, self._context))
                    if self._keeps_plans and time.monotonic() - begun > SLOW:
                        await self._plan_anew(connection)
                    return result
            except psycopg.Error as error:
                pause = _again(error, attempt)
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _plan_anew(self, connection: AwaitingSession) -> None:
        """A plan that was made while a table was empty may go through all of it when it is full: forget it."""
        if (now := time.monotonic()) - self._planned_at > BETWEEN_PLANS:
            self._planned_at = now
            with suppress(psycopg.Error):  # who uses the connection next is told
                await connection.execute("DISCARD PLANS")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AwaitingTransaction]:
        with _lent():
            async with self._connections.transaction() as connection:
                yield AwaitingTransaction(connection, self._context)

    async def close(self) -> None:
        await self._connections.close()


class BlockingPostgres:
    """The same database used from blocking code, by any number of threads."""

    def __init__(self, connections: BlockingConnections, context: StatementContext) -> None:
        self._connections = connections
        self._context = context

    def run(self, work: Work[T], *, atomic: bool = True) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                with self._connections.connection() as connection:
                    if not atomic:
                        return run_blocking(work(BlockingTransaction(connection, self._context)))
                    with connection.transaction():
                        return run_blocking(work(BlockingTransaction(connection, self._context)))
            except psycopg.Error as error:
                pause = _again(error, attempt)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def session(self) -> Iterator[BlockingTransaction]:
        with _lent(), self._connections.transaction() as connection:
            yield BlockingTransaction(connection, self._context)

    def close(self) -> None:
        self._connections.close()

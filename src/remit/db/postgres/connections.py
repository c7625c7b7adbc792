"""The open connections of one role: made when they are wanted, kept while they are good.

Whoever wants a connection while the server is away is told so at once, by the error of its own attempt to connect. One
that turns out to be dead takes all idle ones with it: they were made to the same server.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)

from psycopg.errors import OperationalError, ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus

from remit.db import forks
from remit.db.postgres.sessions import AwaitingSession, BlockingSession
from remit.errors import StoreUnavailable


def _is_good(connection: AwaitingSession | BlockingSession) -> bool:
    return bool(connection.pgconn.transaction_status == TransactionStatus.IDLE)  # UNKNOWN when it is closed


def _can_be_replaced(connection: AwaitingSession | BlockingSession) -> bool:
    """Whether one that failed to begin died while it was idle. What is new, or alive, says what ails the server."""
    return not connection.is_new and not _is_good(connection)


def _all_in_use(size: int, patience: float) -> StoreUnavailable:
    return StoreUnavailable(
        f"all {size} connections were in use for {patience:g} s: transactions are held open for too long, "
        "or more is asked of one process than it can do"
    )


class AwaitingConnections:
    """For one event loop: the one that uses it first."""

    def __init__(self, connect: Callable[[], Awaitable[AwaitingSession]], size: int, patience: float) -> None:
        self._connect = connect
        self._size = size
        self._patience = patience
        self._idle: list[AwaitingSession] = []
        self._free = asyncio.Semaphore(size)
        self._closed = False

    def connection(self) -> AbstractAsyncContextManager[AwaitingSession]:
        """Lend one while a block runs."""
        return _AwaitingLoan(self)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AwaitingSession]:
        """Lend one in a transaction, which ends with the block.

        Where BEGIN fails nothing has run: a connection that died while it was idle is replaced.
        """
        while True:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self.connection())
                try:
                    await stack.enter_async_context(connection.transaction())
                except OperationalError:
                    if _can_be_replaced(connection):
                        continue
                    raise
                yield connection
                return

    async def take(self) -> AwaitingSession:
        await self._wait()
        try:
            return self._idle.pop() if self._idle else await self._connect()
        except BaseException:
            self._free.release()
            raise

    async def put_back(self, connection: AwaitingSession) -> None:
        try:
            if _is_good(connection) and not self._closed:
                connection.is_new = False
                self._idle.append(connection)
                return
            dead = connection.closed
            await connection.close()
            if dead:
                await self._drop_idle()
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise _all_in_use(self._size, self._patience) from None

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def close(self) -> None:
        self._closed = True
        await self._drop_idle()


class BlockingConnections:
    """For any number of threads."""

    def __init__(self, connect: Callable[[], BlockingSession], size: int, patience: float) -> None:
        self._connect = connect
        self._size = size
        self._patience = patience
        self._closed = False
        self.forked()
        forks.in_children(self)

    def forked(self) -> None:
        """Begin anew in a forked child: its copies of the sessions lead nowhere, see `sessions.py`."""
        self._idle: list[BlockingSession] = []
        self._free = threading.Semaphore(self._size)

    def connection(self) -> AbstractContextManager[BlockingSession]:
        """Lend one while a block runs."""
        return _BlockingLoan(self)

    @contextmanager
    def transaction(self) -> Iterator[BlockingSession]:
        """Lend one in a transaction, which ends with the block; see `AwaitingConnections.transaction`."""
        while True:
            with ExitStack() as stack:
                connection = stack.enter_context(self.connection())
                try:
                    stack.enter_context(connection.transaction())
                except OperationalError:
                    if _can_be_replaced(connection):
                        continue
                    raise
                yield connection
                return

    def take(self) -> BlockingSession:
        if not self._free.acquire(timeout=self._patience):
            raise _all_in_use(self._size, self._patience)
        try:
            return self._pop() or self._connect()
        except BaseException:
            self._free.release()
            raise

    def put_back(self, connection: BlockingSession) -> None:
        try:
            if _is_good(connection) and not self._closed:
                connection.is_new = False
                self._idle.append(connection)
                return
            dead = connection.closed
            connection.close()
            if dead:
                self._drop_idle()
        finally:
            self._free.release()

    def _pop(self) -> BlockingSession | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _drop_idle(self) -> None:
        while (connection := self._pop()) is not None:
            connection.close()

    def close(self) -> None:
        self._closed = True
        self._drop_idle()


class _AwaitingLoan:
    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: AwaitingConnections) -> None:
        self._lender = lender

    async def __aenter__(self) -> AwaitingSession:
        self._connection = await self._lender.take()
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ReadOnlySqlTransaction):  # the old primary: the next connection may find the new one
            await self._connection.close()
        await self._lender.put_back(self._connection)


class _BlockingLoan:
    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: BlockingConnections) -> None:
        self._lender = lender

    def __enter__(self) -> BlockingSession:
        self._connection = self._lender.take()
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ReadOnlySqlTransaction):
            self._connection.close()
        self._lender.put_back(self._connection)

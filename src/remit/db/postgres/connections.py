"""The open connections of one role: made when they are wanted, kept while they are good.

Whoever wants a connection while the server is away is told so at once, by the error of its own attempt to connect. One
that turns out to be dead takes all idle ones with it: they were made to the same server.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from psycopg.errors import ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus

from remit.db.postgres.sessions import AwaitingSession, BlockingSession
from remit.errors import StoreUnavailable


def _is_good(connection: AwaitingSession | BlockingSession) -> bool:
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


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

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AwaitingSession]:
        await self._wait()
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            except ReadOnlySqlTransaction:  # the old primary: the next connection may find the new one
                await connection.close()
                raise
            finally:
                await self._put_back(connection)
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

    async def _put_back(self, connection: AwaitingSession) -> None:
        if _is_good(connection) and not self._closed:
            self._idle.append(connection)
            return
        dead = connection.closed
        await connection.close()
        if dead:
            await self._drop_idle()

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
        self._idle: list[BlockingSession] = []
        self._free = threading.Semaphore(size)
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[BlockingSession]:
        if not self._free.acquire(timeout=self._patience):
            raise _all_in_use(self._size, self._patience)
        try:
            connection = self._take() or self._connect()
            try:
                yield connection
            except ReadOnlySqlTransaction:
                connection.close()
                raise
            finally:
                self._put_back(connection)
        finally:
            self._free.release()

    def _take(self) -> BlockingSession | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _put_back(self, connection: BlockingSession) -> None:
        if _is_good(connection) and not self._closed:
            self._idle.append(connection)
            return
        dead = connection.closed
        connection.close()
        if dead:
            self._drop_idle()

    def _drop_idle(self) -> None:
        while (connection := self._take()) is not None:
            connection.close()

    def close(self) -> None:
        self._closed = True
        self._drop_idle()

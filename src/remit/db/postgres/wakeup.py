"""Wakes a producer by LISTEN, behind a barrier that keeps NOTIFY out of the way of a busy system.

NOTIFY takes one lock for the whole database at commit, so an enqueue notifies only while a worker sleeps. A sleeping
worker holds the gate, an advisory lock, exclusively; an enqueue tries to share it until its commit, and notifies when
it cannot. Whoever skipped the notification holds the gate until its commit is visible, so a worker that gets the gate
knows that no such enqueue is in flight: one more scan, and it may sleep.

One worker holds the gate at a time. While it does, every enqueue notifies, which wakes all listeners; another idle
worker that cannot get the gate looks again and again, ever less often, up to `SLOWEST`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection

from remit.db import fallbacks
from remit.db.postgres.connection import StatementContext
from remit.db.store import ANYTHING, Notify
from remit.telemetry import WakeupTelemetry

FASTEST, SLOWEST, SLOWING = 0.003, 0.05, 1.25
"""Seconds between two looks of a worker that may not sleep, and how they grow."""
ANSWER = 2.0
"""Seconds in which a session has to answer; one that does not is half-open, and is left."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before the next try to listen, when one has failed; meanwhile the worker looks instead."""


class ListeningWakeup:
    """A wakeup on a connection of its own, which holds the gate for as long as its worker sleeps."""

    def __init__(
        self, connect: Callable[[], Awaitable[AsyncConnection[Any]]], context: StatementContext, notify: Notify
    ) -> None:
        self._connect = connect
        self._context = context
        self._notify = notify
        self._telemetry = WakeupTelemetry()
        self._connection: AsyncConnection[Any] | None = None
        self._read_from: int | None = None
        self._asleep = False
        self._interval = FASTEST
        self._failures = 0
        self._again_at = 0.0

    async def arm(self) -> float:
        if self._asleep:
            return fallbacks.WAKEUP
        if time.monotonic() < self._again_at:
            return SLOWEST
        try:
            connection = await self._listening()
            self._read_no_more()
            self._asleep = await self._ask(connection, b"SELECT pg_try_advisory_lock(%s)", self._context.gate)
            self._read_on(connection)
        except (psycopg.Error, OSError, TimeoutError) as error:
            await self._drop()
            self._failed(error)
            return SLOWEST
        if self._failures:
            self._telemetry.listens_again()
            self._failures = 0
        if self._asleep:
            return fallbacks.WAKEUP
        self._interval = min(self._interval * SLOWING, SLOWEST)
        return self._interval

    async def disarm(self) -> None:
        self._interval = FASTEST
        if not self._asleep or self._connection is None:
            return
        self._asleep = False
        try:
            self._read_no_more()
            await self._ask(self._connection, b"SELECT pg_advisory_unlock(%s)", self._context.gate)
            self._read_on(self._connection)
        except (psycopg.Error, OSError) as error:
            await self._drop()  # with the session, the server drops the lock
            self._failed(error)

    async def close(self) -> None:
        await self._drop()

    async def _listening(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            await self._drop()
            async with asyncio.timeout(ANSWER):
                connection = await self._connect()
            connection.add_notify_handler(lambda notice: self._notify(notice.payload))
            self._connection = connection
            await self._ask(connection, f'LISTEN "{self._context.channel}"'.encode())
        return self._connection

    async def _ask(self, connection: AsyncConnection[Any], statement: bytes, *params: int) -> bool:
        """Run a statement; a session that does not answer in time is hung up, so that it fails."""
        hanging_up = asyncio.get_running_loop().call_later(ANSWER, _hang_up, connection)
        try:
            cursor = await connection.execute(statement, params or None)
            row = await cursor.fetchone() if cursor.description else None
        finally:
            hanging_up.cancel()
        return bool(row and row[0])

    def _failed(self, error: Exception) -> None:
        if not self._failures:
            self._telemetry.polls(error)
        self._again_at = time.monotonic() + min(FIRST_PAUSE * 2**self._failures, LAST_PAUSE)
        self._failures = min(self._failures + 1, 10)

    def _read_on(self, connection: AsyncConnection[Any]) -> None:
        """Between statements nobody reads the socket: read it whenever something arrives."""
        self._read_from = connection.fileno()
        asyncio.get_running_loop().add_reader(self._read_from, self._read, connection)

    def _read_no_more(self) -> None:
        if self._read_from is not None:
            asyncio.get_running_loop().remove_reader(self._read_from)
            self._read_from = None

    def _read(self, connection: AsyncConnection[Any]) -> None:
        try:
            connection.pgconn.consume_input()
            heard: set[str] = set()
            while notice := connection.pgconn.notifies():
                heard.add(notice.extra.decode())
        except psycopg.Error:
            heard = {ANYTHING}  # the session is gone: wake up, and listen on a new one
            self._read_no_more()
            self._asleep = False
            connection.pgconn.finish()
        for news in heard:
            self._notify(news)

    async def _drop(self) -> None:
        self._read_no_more()
        self._asleep = False
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _hang_up(connection: AsyncConnection[Any]) -> None:
    """End the stream under a session: whoever waits for its answer is told that it is gone."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    except (psycopg.Error, OSError):
        pass  # it is gone already


class PollingWakeup:
    """For connections behind a transaction pooler, where nobody can listen: looks again, ever less often."""

    def __init__(self) -> None:
        self._interval = FASTEST

    async def arm(self) -> float:
        self._interval = min(self._interval * SLOWING, SLOWEST)
        return self._interval

    async def disarm(self) -> None:
        self._interval = FASTEST

    async def close(self) -> None:
        pass

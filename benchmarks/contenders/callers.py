"""Transactions of a caller's, on the drivers that applications use."""

from __future__ import annotations

import inspect
import sqlite3
import time
from abc import abstractmethod
from typing import Any

from benchmarks.contenders.contender import Publisher, Spent, file_of

BLOCKING, ASYNC, SESSION, SQLITE3 = "psycopg", "psycopg async", "SQLAlchemy", "sqlite3"


class Callers(Publisher):
    """Holds a connection or session for each way, and what begins its transaction."""

    engine: Any
    handles: dict[str, Any]
    begins: dict[str, Any]

    async def open(self) -> None:
        self.engine, self.handles, self.begins = await self.connect()

    @abstractmethod
    async def connect(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """An engine of SQLAlchemy's, the handles, and what begins a transaction on each."""

    @abstractmethod
    def write(self, way: str, handle: Any, number: int) -> Any:
        """Publish on the handle; awaitable where the handle is."""

    async def publish(self, way: str, number: int) -> Spent:
        handle = self.handles[way]
        await _done(handle.execute(self.begins[way]))
        begun = time.perf_counter()
        await _done(self.write(way, handle, number))
        called = time.perf_counter()
        await _done(handle.commit())
        return Spent(called - begun, time.perf_counter() - begun)

    async def close(self) -> None:
        for handle in self.handles.values():
            await _done(handle.close())
        self.engine.dispose()


class PostgresCallers(Callers):
    ways = BLOCKING, ASYNC, SESSION

    async def connect(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        import psycopg
        from sqlalchemy import create_engine, text
        from sqlalchemy.orm import Session

        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        handles = {
            BLOCKING: psycopg.connect(self.url),
            ASYNC: await psycopg.AsyncConnection.connect(self.url),
            SESSION: Session(engine),
        }
        return engine, handles, {BLOCKING: "SELECT 1", ASYNC: "SELECT 1", SESSION: text("SELECT 1")}


class SqliteCallers(Callers):
    ways = SQLITE3, SESSION

    async def connect(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        from sqlalchemy import create_engine, event, text
        from sqlalchemy.orm import Session

        engine = create_engine(self.url)

        @event.listens_for(engine, "connect")
        def durable(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA synchronous = FULL")

        plain = sqlite3.connect(file_of(self.url), isolation_level=None)
        plain.execute("PRAGMA synchronous = FULL")
        handles = {SQLITE3: plain, SESSION: Session(engine)}
        return engine, handles, {SQLITE3: "BEGIN IMMEDIATE", SESSION: text("BEGIN IMMEDIATE")}


async def _done(result: Any) -> None:
    if inspect.isawaitable(result):
        await result

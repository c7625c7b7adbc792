"""Statements on SQLite connections: one writer at a time, in short immediate transactions."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from remit.db import forks
from remit.db.sqlite.connection_thread import ConnectionThread
from remit.db.sqlite.pacing import WritePacing
from remit.db.statements import Dialect, Query, render
from remit.db.transaction import Row, Value, Work, run_blocking
from remit.errors import LeaseLost, RemitError, StoreBusy, StoreError, StoreUnavailable, WrongSchema

T = TypeVar("T")
Params = Sequence[object] | dict[str, object]
Clock = Callable[[], int]

inside: ContextVar[str | None] = ContextVar("remit_sqlite_session", default=None)
"""The file whose write lock the running code holds through `run.transaction()`; it must not wait for itself."""


def translate(error: sqlite3.Error) -> RemitError:
    """remit's word for what SQLite said."""
    message = str(error)
    name = getattr(error, "sqlite_errorname", "")
    if "remit: lease lost" in message:
        return LeaseLost(message)
    if name == "SQLITE_BUSY_SNAPSHOT":
        return StoreBusy(
            "this transaction has read before another one wrote, so it cannot write any more: "
            "begin it with BEGIN IMMEDIATE"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"{message}: another transaction writes; inside a transaction of your own, pass tx=")
    if "no such table: remit_" in message or "no such column" in message:
        return WrongSchema(f"the database lacks what this version of remit needs ({message}): run `remit migrate`")
    if name.startswith(("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return StoreUnavailable(f"{message} ({name})")
    return StoreError(f"{message} ({name})" if name else message)


@cache
def _script(query: Query) -> tuple[tuple[str, ...], bool]:
    """The parts of a statement, and whether it writes: a search in its text, which takes longer than a small read."""
    rendered = render(query, "sqlite", "named")
    return rendered.parts, rendered.writes


def fetch(connection: sqlite3.Connection, parts: Sequence[str], params: Mapping[str, object]) -> list[Row]:
    """Run the parts of a statement; the rows of the first part that returns any."""
    rows: list[Row] = []
    for part in parts:
        cursor = connection.execute(part, params)
        if cursor.description and not rows:
            rows = cursor.fetchall()
    return rows


class SqliteTransaction:
    """Statements on a connection; they never suspend."""

    __slots__ = ("_clock", "_pacing", "connection")
    dialect: Dialect = "sqlite"
    blocking: ClassVar[bool] = True

    def __init__(self, connection: sqlite3.Connection, clock: Clock, pacing: WritePacing | None = None) -> None:
        self.connection = connection
        self._clock = clock
        self._pacing = pacing

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        parts, writes = _script(query)
        if not writes or self.connection.in_transaction:
            return self._fetch(parts, params)
        with writing(self.connection, self._pacing):
            return self._fetch(parts, params)

    def _fetch(self, parts: Sequence[str], params: Mapping[str, Value]) -> list[Row]:
        """It is now when the lock is taken, not when it was asked for."""
        return fetch(self.connection, parts, {"now": self._clock(), **params})

    async def execute(self, sql: str, params: Params = ()) -> list[Row]:
        return self.connection.execute(sql, params).fetchall()


@contextmanager
def writing(connection: sqlite3.Connection, pacing: WritePacing | None = None) -> Iterator[None]:
    """An immediate transaction: it takes the write lock at once, where waiting for it is allowed."""
    if pacing is None:
        with _immediate(connection):
            yield
    else:
        with pacing.turn(connection), _immediate(connection):
            pacing.locked()
            yield


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class BlockingSqlite:
    """A SQLite file used from blocking code: one connection, used by one thread at a time."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        path: str,
        clock: Clock,
        pacing: WritePacing | None,
        session_pacing: Callable[[], WritePacing],
    ) -> None:
        self._connect = connect
        self._path = path
        self._clock = clock
        self._pacing = pacing
        self._session_pacing = session_pacing
        self._inherited: list[sqlite3.Connection | None] = []
        self._file = Path(path)
        self._opened: tuple[int, int] | None = None
        self._begin()
        forks.in_children(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def forked(self) -> None:
        """Open a connection of its own in a forked child. The parent's is kept and never touched: to close it could
        wait for a lock that a thread of the parent held.
        """
        self._inherited.append(self._connection)
        self._begin()

    def run(self, work: Work[T], *, atomic: bool = True) -> T:
        if inside.get() == self._path:
            raise StoreBusy(
                "inside run.transaction() this would wait for its own write lock: use run.enqueue, or pass tx="
            )
        with self._lock:
            try:
                connection = self._current()
                transaction = SqliteTransaction(connection, self._clock, self._pacing)
                if not atomic:
                    return run_blocking(work(transaction))
                with writing(connection, self._pacing):
                    return run_blocking(work(transaction))
            except sqlite3.Error as error:
                word = translate(error)
                if isinstance(word, StoreUnavailable):
                    self._discard()
                raise word from error

    def _current(self) -> sqlite3.Connection:
        """The open connection. One to a file that was removed, or replaced, would write where nobody reads."""
        if self._connection is not None and _file(self._file) != self._opened:
            self._discard()
        if self._connection is None:
            self._connection = self._connect()
            self._opened = _file(self._file)
        return self._connection

    @contextmanager
    def session(self) -> Iterator[SqliteTransaction]:
        connection = self._connect()
        # Several handlers may want to write at once: in a queue, since SQLite's waiters sleep while the lock is free.
        queue = self._session_pacing()
        mark = inside.set(self._path)
        try:
            with writing(connection, queue):
                yield SqliteTransaction(connection, self._clock)
        except sqlite3.Error as error:  # a handler's own statements raise what the driver raises
            word = translate(error)
            if isinstance(word, LeaseLost | StoreBusy | StoreUnavailable):
                raise word from error
            raise
        finally:
            inside.reset(mark)
            connection.close()
            queue.close()

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._discard()
            if self._pacing is not None:
                self._pacing.close()


class ThreadedSession:
    """A session whose statements run in the thread that owns it, one hop each."""

    dialect: Dialect = "sqlite"
    blocking: ClassVar[bool] = False

    def __init__(self, session: SqliteTransaction, thread: ConnectionThread) -> None:
        self._session = session
        self._thread = thread

    @property
    def connection(self) -> sqlite3.Connection:
        return self._session.connection

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        return await self._thread.call(lambda: run_blocking(self._session.fetch(query, **params)))

    async def execute(self, sql: str, params: Params = ()) -> list[Row]:
        return await self._thread.call(lambda: run_blocking(self._session.execute(sql, params)))


class AwaitingSqlite:
    """The same file used from asyncio: an operation runs whole in one thread, in one hop."""

    def __init__(self, blocking: BlockingSqlite, name: str) -> None:
        self._blocking = blocking
        self._name = name
        self._thread = ConnectionThread(name)

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        if inside.get() is not None:  # the context does not follow into the thread: say it here
            return self._blocking.run(work, atomic=atomic)
        call: Callable[[], T] = partial(self._blocking.run, work, atomic=atomic)
        return await self._thread.call(call)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[ThreadedSession]:
        thread = ConnectionThread(f"{self._name}-session")
        manager = self._blocking.session()
        mark = inside.set(self._blocking._path)
        try:
            try:
                session = await thread.call(manager.__enter__)
            except asyncio.CancelledError:
                # The thread still waits for the write lock, and would hold it for nobody: it gives it back at once.
                _ = thread.call(partial(manager.__exit__, asyncio.CancelledError, asyncio.CancelledError(), None))
                raise
            try:
                yield ThreadedSession(session, thread)
            except BaseException as error:
                leave = partial(manager.__exit__, type(error), error, error.__traceback__)
                suppress = await asyncio.shield(thread.call(leave))
                if not suppress:
                    raise
            else:
                await asyncio.shield(thread.call(partial(manager.__exit__, None, None, None)))
        finally:
            inside.reset(mark)
            thread.close()

    async def close(self) -> None:
        await self._thread.call(self._blocking.close)
        self._thread.close()


def connect(path: str, *, busy_timeout: float, synchronous: str) -> sqlite3.Connection:
    """Open the file as remit needs it: WAL, foreign keys, transactions begun by hand."""
    connection: Any = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    _use_wal(connection, time.monotonic() + busy_timeout)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    # A claim sorts a few rows: in a temporary file, the default, that costs it six times as long.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.create_function("remit_derived_id", 2, derived_id, deterministic=True)
    return connection  # type: ignore[no-any-return]


def _file(path: Path) -> tuple[int, int] | None:
    """Which file a path names now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def derived_id(id: str | None, name: str | None) -> str | None:
    """A UUID made of another and a name, as `remit.derived_id` on PostgreSQL: the other's time, and a hash of both."""
    if id is None or name is None:
        return None
    digest = hashlib.md5(f"{id}{name}".encode(), usedforsecurity=False).hexdigest()
    return f"{id[:19]}8{digest[:3]}-{digest[3:15]}"


def _use_wal(connection: sqlite3.Connection, until: float) -> None:
    """Where several open a new file at once, SQLite does not wait for the lock as it does elsewhere."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
        time.sleep(0.01)


def now_micros() -> int:
    """The clock of the machine, which is the database's: they are one process."""
    return time.time_ns() // 1000

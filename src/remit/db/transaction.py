"""Transactions as features see them, and how blocking code runs what is written once.

A store operation is one coroutine that awaits nothing but its transaction. On an asyncio connection it is awaited; on
a blocking one it never suspends, so `run_blocking` finishes it without an event loop. There is no second copy.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from remit.db.statements import Dialect, Query

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
Value: TypeAlias = str | int | float | bool | None
"""What a parameter may be. Batches and documents are JSON text; times are integer microseconds since 1970."""


class Transaction(Protocol):
    """An open transaction, remit's own or the caller's."""

    @property
    def dialect(self) -> Dialect:
        """The SQL that it speaks."""
        ...

    blocking: ClassVar[bool]
    """Whether it never suspends, so that blocking code can use it."""

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        """Run one statement and return its rows; `now` is filled in by the store where the statement asks for it."""
        ...


Work: TypeAlias = Callable[[Transaction], Coroutine[Any, Any, T]]
"""An operation that waits for nothing but its transaction."""


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Finish a coroutine that never suspends; raise at once if it does."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        work.close()
    raise RuntimeError(f"{work!r} awaited something other than its transaction")


class Role(StrEnum):
    """What a connection is for: it stands in the server's list of sessions, and faults are staged by it."""

    CLIENT = "client"
    RAIL = "rail"
    CLAIM = "claim"
    COMPLETE = "complete"
    TURN = "turn"
    RELAY = "relay"
    HEARTBEAT = "heartbeat"
    LISTEN = "listen"
    LEADER = "leader"
    HANDLER = "handler"
    MIGRATE = "migrate"


class Session(Transaction, Protocol):
    """remit's own connection with a transaction open, lent to a handler."""

    @property
    def connection(self) -> Any:
        """The driver's connection."""
        ...

    async def execute(self, sql: str, params: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        """Run the handler's own SQL, in the driver's parameter style."""
        ...


class Database(Protocol):
    """A database used from asyncio."""

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        """Run an operation in a short transaction of its own.

        With `atomic=False` each statement is its own transaction, which saves two round trips: for operations of a
        single statement. Every operation can be repeated (it compares a token, or inserts under an id that the client
        made), so a deadlock, a serialization failure or a connection that was already dead is tried again.
        """
        ...

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Open a transaction that stays open while the block runs, on a connection that nobody else uses."""
        ...

    async def close(self) -> None: ...


class BlockingDatabase(Protocol):
    """The same database used from blocking code."""

    def run(self, work: Work[T], *, atomic: bool = True) -> T: ...

    def session(self) -> AbstractContextManager[Session]: ...

    def close(self) -> None: ...

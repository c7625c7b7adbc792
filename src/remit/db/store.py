"""A database engine behind remit: what it can do, and how to reach it in both calling styles."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol, TypeAlias

from remit.db.statements import Dialect
from remit.db.transaction import BlockingDatabase, Database, Role, Transaction, Work


class Capability(StrEnum):
    """What the runtime and the tests ask for by name, never for an engine."""

    SEVERAL_WRITERS = "several-writers"
    """Writers do not exclude each other; a claim in one does not wait for a claim in another."""
    SEVERAL_MACHINES = "several-machines"
    """Workers on different machines may share the store."""
    NOTIFY = "notify"
    """A commit can wake a sleeping worker; without it, workers look again and again."""
    EXPLICIT_MIGRATION = "explicit-migration"
    """The schema is changed only by `remit migrate`; without it, opening the store migrates it."""


ANYTHING, JOBS, EVENTS = "", "jobs", "events"
"""What a wakeup notifies of, as far as it knows."""

Notify: TypeAlias = Callable[[str], None]


class Wakeup(Protocol):
    """Wakes the parts of a worker when work may be ready.

    It may notify in vain; it never stays silent for longer than `arm` answered.
    """

    async def arm(self) -> float:
        """Prepare to sleep; answers how many seconds a sleep may last, *after one more scan found nothing*."""
        ...

    async def disarm(self) -> None:
        """Awake again: until the next `arm`, nobody needs to notify."""
        ...

    async def close(self) -> None: ...


Beat: TypeAlias = Callable[[str], Work[bool]]
Counters: TypeAlias = Work[dict[str, int]]


class Liveness(Protocol):
    """How a worker shows that it lives, and sees which others do. It blocks, and is used from one thread."""

    def beat(self, health: str) -> bool:
        """Show life; False if the registration is gone, which ends that incarnation. `health` is JSON."""
        ...

    def observe(self) -> dict[str, int]:
        """The counter of every registered worker."""
        ...

    def may_be_alive(self, worker: str) -> bool:
        """Whether there is a sign of life of a worker whose counter stands still."""
        ...

    def sweep(self, registered: Collection[str]) -> None:
        """Remove what dead workers left; these are registered. May be called from any thread."""
        ...

    def close(self) -> None: ...


class MigrationTarget(Protocol):
    """A database that is being migrated."""

    def execute(self, sql: str) -> None:
        """Run a text of any number of statements."""
        ...

    def version(self) -> int | None:
        """The number of the last migration, read under the lock."""
        ...

    def set_version(self, version: int) -> None: ...


class Store(Protocol):
    """One database engine, described; connections are opened when they are first used."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def schema(self) -> str:
        """The schema that holds remit's tables (PostgreSQL); unused elsewhere."""
        ...

    @property
    def url(self) -> str:
        """A URL by which another process finds this store, whatever its working directory. It may hold a password."""
        ...

    def describe(self) -> str:
        """The store for people: engine and place, no password."""
        ...

    def cautions(self) -> list[str]:
        """What the way in which this store is set up costs, each with the setting that mends it."""
        ...

    def database(self, role: Role) -> Database: ...

    def blocking(self, role: Role) -> BlockingDatabase: ...

    def wakeup(self, notify: Notify) -> Wakeup:
        """A wakeup that calls `notify` on the running event loop, with what it notifies of."""
        ...

    def liveness(self, database: BlockingDatabase, worker: str, beat: Beat, counters: Counters) -> Liveness:
        """The liveness of a worker, on a database that nobody else uses.

        `beat` makes the operation that moves the counter in the worker's row, and writes its health there; `counters`
        reads the counters of all rows.
        """
        ...

    def migrate(self, steps: Callable[[MigrationTarget], None]) -> None:
        """Call `steps` inside one transaction that holds the store's migration lock."""
        ...

    def schema_version(self) -> int | None:
        """The number of the last migration that this store has seen; None when it has seen none."""
        ...

    def adopt(self, handle: object) -> Transaction:
        """See the caller's handle as a transaction of this store; nothing is begun, committed or closed.

        Raises `UnsupportedHandle`, `ClosedTransaction`, `AutocommitTransaction`, `ForeignTransaction`, or
        `TransactionError` for one that has failed already.
        """
        ...

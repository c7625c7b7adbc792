"""A real store, in a process that dies at a chosen call: nothing that comes later reaches the database."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from remit.db.statements import Dialect, Query
from remit.db.store import Beat, Capability, Counters, Liveness, MigrationTarget, Notify, Store, Wakeup
from remit.db.transaction import BlockingDatabase, Database, Role, Row, Session, Transaction, Value, Work
from remit.errors import StoreUnavailable

T = TypeVar("T")
When = Literal["before", "after"]
"""Before the call is sent, or after what it did is committed and before anybody hears of it."""


class Died(StoreUnavailable):
    """What is left of the process finds no database any more."""


@dataclass
class Fate:
    """At which call the process dies: the `number`-th of a name, counted from 1. Without a name it lives."""

    name: str | None = None
    number: int = 1
    when: When = "before"
    calls: Counter[str] = field(default_factory=Counter)
    counting: threading.Lock = field(default_factory=threading.Lock)
    dead: bool = False
    died: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def check(self) -> None:
        if self.dead:
            raise Died("the process has died")

    def call(self, name: str) -> bool:
        """One call begins; answers whether the process dies after its commit."""
        with self.counting:
            self.check()
            self.calls[name] += 1
            number = self.calls[name]
        if (name, number) != (self.name, self.number):
            return False
        if self.when == "before":
            self.die()
        return True

    def die(self) -> None:
        self.dead = True
        self.loop.call_soon_threadsafe(self.died.set)
        raise Died(f"the process dies {self.when} {self.name} {self.number}")


class Doomed:
    """A transaction, its calls counted. In a session, BEGIN and COMMIT are calls too."""

    def __init__(self, tx: Any, fate: Fate) -> None:
        self._tx = tx
        self._fate = fate
        self.fatal = False

    @property
    def dialect(self) -> Dialect:
        dialect: Dialect = self._tx.dialect
        return dialect

    @property
    def blocking(self) -> bool:
        return bool(self._tx.blocking)

    @property
    def connection(self) -> Any:
        return self._tx.connection

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        self.fatal |= self._fate.call(query.name)
        rows: list[Row] = await self._tx.fetch(query, **params)
        return rows

    async def execute(self, sql: str, params: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        self.fatal |= self._fate.call("execute")
        rows: list[Row] = await self._tx.execute(sql, params)
        return rows

    def committed(self) -> None:
        if self.fatal:
            self._fate.die()


class DyingDatabase:
    def __init__(self, database: Database, fate: Fate) -> None:
        self._database = database
        self._fate = fate

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        self._fate.check()
        doomed: list[Doomed] = []
        result = await self._database.run(_watched(work, doomed, self._fate), atomic=atomic)
        for transaction in doomed:
            transaction.committed()
        return result

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        fatal = self._fate.call("begin")
        async with self._database.session() as session:
            if fatal:
                self._fate.die()
            doomed = Doomed(session, self._fate)
            yield doomed
            doomed.fatal |= self._fate.call("commit")
        doomed.committed()

    async def close(self) -> None:
        await self._database.close()


class DyingBlockingDatabase:
    def __init__(self, database: BlockingDatabase, fate: Fate) -> None:
        self._database = database
        self._fate = fate

    def run(self, work: Work[T], *, atomic: bool = True) -> T:
        self._fate.check()
        doomed: list[Doomed] = []
        result = self._database.run(_watched(work, doomed, self._fate), atomic=atomic)
        for transaction in doomed:
            transaction.committed()
        return result

    @contextmanager
    def session(self) -> Iterator[Session]:
        fatal = self._fate.call("begin")
        with self._database.session() as session:
            if fatal:
                self._fate.die()
            doomed = Doomed(session, self._fate)
            yield doomed
            doomed.fatal |= self._fate.call("commit")
        doomed.committed()

    def close(self) -> None:
        self._database.close()


def _watched(work: Work[T], doomed: list[Doomed], fate: Fate) -> Work[T]:
    def watched(tx: Transaction) -> Coroutine[Any, Any, T]:
        doomed.append(Doomed(tx, fate))
        return work(doomed[-1])

    return watched


class DyingStore:
    """The store of a process that will die."""

    def __init__(self, store: Store, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    @property
    def dialect(self) -> Dialect:
        return self._store.dialect

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._store.capabilities

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def schema(self) -> str:
        return self._store.schema

    def liveness(self, database: BlockingDatabase, worker: str, beat: Beat, counters: Counters) -> Liveness:
        return self._store.liveness(database, worker, beat, counters)

    def describe(self) -> str:
        return self._store.describe()

    def database(self, role: Role) -> Database:
        return DyingDatabase(self._store.database(role), self._fate)

    def blocking(self, role: Role) -> BlockingDatabase:
        return DyingBlockingDatabase(self._store.blocking(role), self._fate)

    def wakeup(self, notify: Notify) -> Wakeup:
        return self._store.wakeup(notify)

    def migrate(self, steps: Callable[[MigrationTarget], None]) -> None:
        self._store.migrate(steps)

    def schema_version(self) -> int | None:
        return self._store.schema_version()

    def adopt(self, handle: object) -> Transaction:
        return self._store.adopt(handle)

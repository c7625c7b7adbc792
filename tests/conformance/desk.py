"""A store on the desk of a test: one way to call it whatever the calling style, at a time that the test sets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, Literal, Self, TypeAlias, TypeVar

from remit.client import records
from remit.db.statements import Dialect, Query
from remit.db.store import Capability, Store
from remit.db.transaction import BlockingDatabase, Database, Role, Row, Session, Transaction, Value
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim, Ended, Landed
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import JobRecord
from remit.jobs.states import (
    Completed,
    Failed,
    Failure,
    GaveUp,
    Interrupted,
    Outcome,
    Skipped,
    Snoozed,
    State,
    Stopped,
    decide,
)
from remit.outbox import operations as outbox
from remit.outbox.model import Dispatched, EventRecord, Filled, Lane, SubscriptionRecord
from remit.runtime import operations as workers

T = TypeVar("T")
Style: TypeAlias = Literal["asyncio", "blocking"]

SECOND = 1_000_000
DAWN = 1_800_000_000 * SECOND
"""The virtual time at which a test begins, in microseconds."""
LINE, QUEUE = 7, "billing.invoices"
BOOM = Failure("ValueError", "boom", "Traceback …")
PAID = "billing.invoice-paid"
DELIVERIES = 9 << 15
"""The line of deliveries, without the version of the event."""
WEEK = 7 * 86_400.0


class At:
    """A transaction whose statements read a virtual clock."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self.tx = tx
        self.now = now

    @property
    def dialect(self) -> Dialect:
        return self.tx.dialect

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        return await self.tx.fetch(query, now=self.now, **params)


def a_job(**changes: Any) -> dict[str, Any]:
    """A row as `remit.jobs.rows.row` gives it."""
    return {
        "id": new_id(),
        "line": LINE,
        "version": 1,
        "priority": 0,
        "attempts": 3,
        "domain": "billing",
        "queue": QUEUE,
        "name": "billing.sync-invoice",
        "encoding": "json",
        "payload": '{"invoice_id":"i-1"}',
        **changes,
    }


def an_event(**changes: Any) -> dict[str, Any]:
    """A row as `remit.outbox.rows.event_row` gives it."""
    return {
        "id": new_id(),
        "version": 1,
        "domain": "billing",
        "name": PAID,
        "encoding": "json",
        "payload": '{"invoice_id":"i-1"}',
        **changes,
    }


def know(store: Store) -> None:
    """Declare the events that most tests publish: the relay sets others aside."""
    events = [{"name": name, "version": version, "former": []} for name, version in KNOWN]
    database = store.blocking(Role.CLIENT)
    database.run(lambda tx: outbox.declare(At(tx, DAWN), [], events, force=False))
    database.close()


KNOWN = ((PAID, 1), ("remit.job-died", 1))


def a_subscription(name: str = "catalog.unlock", **changes: Any) -> dict[str, Any]:
    """A row as `remit.outbox.rows.subscription_row` gives it; `where` is written as its condition."""
    where: dict[str, Sequence[object]] | None = changes.pop("where", None)
    condition = None if where is None else {field: [text(one) for one in where[field]] for field in where}
    row: dict[str, Any] = {
        "name": name,
        "aliases": [],
        "line": DELIVERIES,
        "attempts": 3,
        "priority": 0,
        "domain": name.split(".", maxsplit=1)[0],
        "queue": QUEUE,
        "events": text([PAID]),
        "condition": None if condition is None else text({"1": condition}),
        "ordered_by": None,
        "on_dead": "block",
        "stale_after": 3600.0,
        "expires": None,
        "keep": None,
        **changes,
    }
    fingerprint = blake2b(text(row).encode(), digest_size=16).hexdigest()
    return {"id": new_id(), "fingerprint": fingerprint, **row}


def text(value: object) -> str:
    """JSON as messages are encoded."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Desk:
    """Operations on one store, on connections of its own, in one calling style."""

    def __init__(self, store: Store, style: Style) -> None:
        self.store = store
        self.style = style
        self.now = DAWN
        self._identity: str | None = None
        self._awaiting: dict[Role, Database] = {}
        self._blocking: dict[Role, BlockingDatabase] = {}
        self._others: list[Desk] = []
        self._columns: dict[str, list[str]] = {}
        self._known: set[tuple[str, int]] = set()

    # --- time

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.now += round(seconds * SECOND)

    # --- calls

    async def __call__(
        self,
        operation: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        role: Role = Role.CLIENT,
        atomic: bool = False,
        **kwargs: Any,
    ) -> T:
        """Run an operation in a transaction of its own."""

        def work(tx: Transaction) -> Coroutine[Any, Any, T]:
            return operation(At(tx, self.now), *args, **kwargs)

        if self.style == "blocking":
            return self.blocking(role).run(work, atomic=atomic)
        return await self.database(role).run(work, atomic=atomic)

    @asynccontextmanager
    async def session(self, role: Role = Role.CLIENT) -> AsyncIterator[tuple[At, Session]]:
        """An open transaction: as operations take it, and for SQL of one's own."""
        if self.style == "blocking":
            with self.blocking(role).session() as session:
                yield At(session, self.now), session
        else:
            async with self.database(role).session() as awaiting:
                yield At(awaiting, self.now), awaiting

    async def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Run SQL, with `{job}` for the table of jobs and `?` for parameters."""
        async with self.session() as (_, session):
            return await session.execute(self.spell(sql), tuple(params))

    def spell(self, sql: str) -> str:
        postgres = self.store.dialect == "postgres"
        names = {name: f'"{self.store.schema}".{name}' if postgres else f"remit_{name}" for name in TABLES}
        names["effect"] = "public.effect" if postgres else "effect"  # a table of the application's
        return sql.format(**names).replace("?", "%s" if postgres else "?")

    def database(self, role: Role) -> Database:
        if role not in self._awaiting:
            self._awaiting[role] = self.store.database(role)
        return self._awaiting[role]

    def blocking(self, role: Role) -> BlockingDatabase:
        if role not in self._blocking:
            self._blocking[role] = self.store.blocking(role)
        return self._blocking[role]

    def another(self) -> Desk:
        """The same store seen by another process: on connections of its own."""
        other = Desk(self.store, self.style)
        other.now = self.now
        self._others.append(other)
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for other in self._others:
            await other.__aexit__()
        for database in self._awaiting.values():
            await database.close()
        for blocking in self._blocking.values():
            await asyncio.to_thread(blocking.close)

    def can(self, capability: Capability) -> bool:
        return capability in self.store.capabilities

    # --- what most tests do

    async def identity(self) -> str:
        if self._identity is None:
            self._identity = await self(jobs.store)
        return self._identity

    async def enqueue(self, **changes: Any) -> str:
        [id] = await self.enqueue_many([a_job(**changes)])
        return id

    async def enqueue_many(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        await self(jobs.enqueue, rows, store=await self.identity())
        return [row["id"] for row in rows]

    async def register(self) -> str:
        worker = new_id()
        await self(workers.register, worker, host="here", pid=1, about="{}")
        return worker

    async def claim(self, worker: str, quota: int = 100, *, line: int = LINE, queue: str = QUEUE) -> list[Claim]:
        claims, _ = await self(execution.claim, [Allotment(line, queue, quota)], worker=worker, token=new_token())
        return claims

    async def claim_one(self, worker: str | None = None, *, line: int = LINE) -> Claim:
        [claim] = await self.claim(worker or await self.register(), 1, line=line)
        return claim

    async def running(self, worker: str | None = None, **changes: Any) -> Claim:
        """A job that has just been claimed."""
        await self.enqueue(**changes)
        return await self.claim_one(worker, line=changes.get("line", LINE))

    async def finish(
        self, claim: Claim, outcome: Outcome, *, messages: Sequence[dict[str, Any]] = (), worker: str | None = None
    ) -> list[Landed]:
        return await self(
            execution.finish,
            [ended(claim, outcome, messages)],
            worker=worker or new_id(),
            stamp=new_token(),
        )

    async def die(self, worker: str) -> None:
        """The worker's registration goes, as it does when others have declared it dead."""
        await self(workers.deregister, worker)

    async def rescue(self, limit: int = 100) -> list[tuple[str, State, bool]]:
        return [job[:3] for job in await self(execution.rescue, token=new_token(), limit=limit)]

    async def promote(self, limit: int = 100) -> int:
        promoted, _ = await self(jobs.promote, limit=limit)
        return promoted

    async def get(self, id: str) -> JobRecord:
        record = await self(records.get, id, atomic=True)
        assert record is not None, f"there is no job {id}"
        return record

    async def state(self, id: str) -> State:
        return (await self.get(id)).state

    # --- events

    async def publish(self, **changes: Any) -> str:
        [id] = await self.publish_many([an_event(**changes)])
        return id

    async def publish_many(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Publish events of which the relay knows."""
        if new := {(row["name"], row["version"]) for row in rows} - self._known:
            await self.know(*new)
            self._known |= new
        return await self.publish_unknown(rows)

    async def know(self, *events: tuple[str, int], former: Sequence[str] = ()) -> None:
        rows = [{"name": name, "version": version, "former": list(former)} for name, version in sorted(events)]
        await self(outbox.declare, [], rows, force=False, atomic=True)

    async def publish_unknown(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        await self(outbox.publish, rows, store=await self.identity())
        return [row["id"] for row in rows]

    async def declare(self, *rows: dict[str, Any], force: bool = False) -> list[tuple[str, str]]:
        return sorted(await self(outbox.declare, rows, force=force, atomic=True))

    async def subscribe(self, name: str = "catalog.unlock", **changes: Any) -> str:
        """Enter a subscription; its id."""
        await self.declare(a_subscription(name, **changes))
        return (await self.subscription(name)).id

    async def subscription(self, name: str = "catalog.unlock") -> SubscriptionRecord:
        [found] = [each for each in await self.subscriptions() if each.name == name]
        return found

    async def subscriptions(
        self, declared: Iterable[str] = (), domains: Iterable[str] = ()
    ) -> list[SubscriptionRecord]:
        return await self(outbox.subscriptions, set(declared), set(domains), atomic=True)

    async def dispatch(self, limit: int = 100, only: Collection[str] | None = None, keep: float = WEEK) -> Dispatched:
        return await self(outbox.dispatch, limit=limit, keep=keep, only=only)

    async def release(self, *lanes: Lane) -> tuple[int, int]:
        return await self(outbox.release, lanes)

    async def lanes(self, limit: int = 100) -> dict[Lane, bool]:
        """Every lane in which somebody waits, and whether it can move on."""
        first = ("00000000-0000-0000-0000-000000000000", -(2**63))
        return dict(await self(outbox.lanes, after=first, limit=limit))

    async def advance(self) -> int:
        """Move every lane on that can; how many jobs were made."""
        movable = [lane for lane, can in (await self.lanes()).items() if can]
        return (await self.release(*movable))[0]

    async def fill(
        self,
        subscription: str,
        names: Collection[str] = (PAID,),
        *,
        since: int | None = None,
        until: int | None = None,
        after: int = -1,
        limit: int = 100,
    ) -> Filled:
        return await self(outbox.fill, subscription, names, since=since, until=until, after=after, limit=limit)

    async def fail(self, id: str, *, most: int = 10, delay: float = 5.0) -> Any:
        return await self(outbox.fail, id, error="it cannot be read", most=most, delay=delay)

    async def purge_events(
        self, *, keep: float = WEEK, archive: bool = False, again: float = 600.0, limit: int = 100
    ) -> tuple[int, int]:
        return await self(outbox.purge_events, keep=keep, archive=archive, again=again, limit=limit)

    async def event(self, id: str) -> EventRecord:
        record = await self(outbox.get_event, id, atomic=True)
        assert record is not None, f"there is no event {id}"
        return record

    async def deliveries(self, id: str) -> dict[str, str]:
        """The state of an event's deliveries, by subscription."""
        return {one.subscription: one.state for one in (await self.event(id)).records}

    async def delivery(self, id: str, subscription: str = "catalog.unlock") -> str:
        """The id of the job that delivers an event."""
        [job] = [one.job for one in (await self.event(id)).records if one.subscription == subscription]
        assert job is not None
        return job

    async def under_way(self) -> list[Claim]:
        """Claim the deliveries that are ready, in order."""
        return await self.claim(await self.register(), line=DELIVERIES | 1)

    async def deliver(self, outcome: Outcome | None = None) -> list[str]:
        """Run the deliveries that are ready; their jobs' ids."""
        claims = await self.under_way()
        for claim in claims:
            await self.finish(claim, outcome or Completed())
        return [claim.id for claim in claims]

    async def forget(self, *, age: float = 0.0) -> None:
        """Prune what has ended."""
        self.wait(0.001)
        for dead in (False, True):
            await self(jobs.prune, queue=QUEUE, age=age, dead=dead, limit=1000)

    async def row(self, id: str) -> dict[str, Any] | None:
        """The whole row, every column."""
        columns = await self.columns("job")
        found = await self.execute(f"SELECT {', '.join(columns)} FROM {{job}} WHERE id = ?", [id])
        return dict(zip(columns, found[0], strict=True)) if found else None

    async def columns(self, table: str) -> list[str]:
        if table not in self._columns:
            if self.store.dialect == "postgres":
                sql = (
                    "SELECT column_name::text FROM information_schema.columns "
                    f"WHERE table_schema = '{self.store.schema}' AND table_name = '{table}' ORDER BY ordinal_position"
                )
            else:
                sql = f"SELECT name FROM pragma_table_info('remit_{table}')"
            self._columns[table] = [name for (name,) in await self.execute(sql)]
        return self._columns[table]

    async def count(self, table: str, where: str = "true") -> int:
        [(count,)] = await self.execute(f"SELECT count(*) FROM {{{table}}} WHERE {where}")
        return int(count)

    async def in_state(self, state: State, **changes: Any) -> str:
        """A job brought to a state in the ordinary way."""
        match state:
            case State.SCHEDULED:
                return await self.enqueue(**{"delay": 60, **changes})
            case State.READY:
                return await self.enqueue(**changes)
        claim = await self.running(**changes)
        if state is not State.RUNNING:
            await self.finish(claim, ENDINGS[state]) if state in ENDINGS else await self._cancel(claim)
        return claim.id

    async def _cancel(self, claim: Claim) -> None:
        await self(jobs.cancel, claim.id, reason="not wanted", by="ops")
        await self.finish(claim, Interrupted())


ENDINGS: dict[State, Outcome] = {
    State.COMPLETED: Completed('"done"'),
    State.SKIPPED: Skipped("nothing to do"),
    State.DEAD: GaveUp("no retry can help", BOOM),
}
OUTCOMES: dict[str, Outcome] = {
    "completed": Completed('"done"'),
    "skipped": Skipped("nothing to do"),
    "failed": Failed(BOOM, 30.0),
    "gave up": GaveUp("no retry can help", BOOM),
    "snoozed": Snoozed(30.0),
    "stopped": Stopped("half of it is done"),
    "interrupted": Interrupted(),
}
TABLES = (
    "meta", "job", "failure", "log", "queue", "worker", "leader", "migration", "event", "event_archive", "subscription",
    "turn", "delivery", "event_type",
)  # fmt: skip


def ended(claim: Claim, outcome: Outcome, messages: Sequence[dict[str, Any]] = ()) -> Ended:
    """The end of a run, on its way to the store."""
    transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
    return Ended(claim.id, claim.token, claim.attempt, transition, list(messages))


def message_of(claim: Claim, **changes: Any) -> dict[str, Any]:
    """A job that a run sends."""
    return a_job(causation=claim.id, correlation=claim.correlation, name="billing.tell-customer", **changes)

"""`app.queues`: what waits, what runs, how fast it goes; pause and resume."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from remit.client.faces import BlockingFace, Runs, blocking
from remit.db.transaction import Transaction
from remit.errors import InvalidArgument, nearest
from remit.jobs import operations
from remit.jobs.model import moment
from remit.jobs.states import State


@dataclass(slots=True)
class QueueRecord:
    """One queue as it stood when it was read.

    `ended` counts, by final state, what ended within the last `window` seconds, and `failed` the attempts that failed
    within them. `retrying` counts the jobs that have not ended and of which an attempt failed; `dead` all dead letters
    that wait. Ages are in seconds: of the oldest ready job, and of the longest run.
    """

    name: str
    window: float
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    dead: int = 0
    retrying: int = 0
    failed: int = 0
    oldest_ready: float | None = None
    longest_run: float | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    ended: dict[State, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Jobs that completed per second, over the window."""
        return self.ended.get(State.COMPLETED, 0) / self.window


class Queues:
    """Queues by their whole names, e.g. `billing.invoices`."""

    def __init__(self, database: Runs, declared: Callable[[], Iterable[str]]) -> None:
        self._database = database
        self._declared = declared

    async def list(self, *, window: float = 60.0) -> list[QueueRecord]:
        """Every queue that is declared, or has jobs, with what ended within the last `window` seconds."""
        return await self._database.run(lambda tx: _list(tx, self._declared(), window), atomic=False)

    async def pause(self, queue: str, *, by: str | None = None) -> None:
        """Claim no more from a queue; what runs, runs on. Raises `InvalidArgument` for a queue nobody knows."""
        known = {record.name for record in await self.list()}
        if queue not in known:
            raise InvalidArgument(no_queue(queue, known))
        await self._database.run(lambda tx: operations.pause(tx, queue, by=by), atomic=False)

    async def resume(self, queue: str) -> bool:
        """Claim from a queue again; False when it was not paused."""
        return await self._database.run(lambda tx: operations.resume(tx, queue), atomic=False)


def no_queue(queue: str, known: Collection[str]) -> str:
    """Say that nobody knows a queue, and which one was meant, or which there are."""
    others = f" The queues are {', '.join(sorted(known))}." if known else ""
    return f"there is no queue {queue!r}.{nearest(queue, known) or others}"


async def _list(tx: Transaction, declared: Iterable[str], window: float) -> builtins.list[QueueRecord]:
    records: dict[str, QueueRecord] = {}

    def record(name: str) -> QueueRecord:
        return records.setdefault(name, QueueRecord(name, window))

    for name in declared:
        record(name)
    for name, state, count, failed, age in await operations.waiting(tx):
        record(name).retrying += failed
        match state:
            case State.READY:
                record(name).ready, record(name).oldest_ready = count, age
            case State.RUNNING:
                record(name).running, record(name).longest_run = count, age
            case _:
                record(name).scheduled = count
    for name, state, count in await operations.ended(tx, seconds=window):
        record(name).ended[state] = count
    for name, count in (await operations.failed_attempts(tx, seconds=window)).items():
        record(name).failed = count
    for name, count in (await operations.dead(tx)).items():
        record(name).dead = count
    for name, at, by in await operations.paused(tx):
        record(name).paused_at, record(name).paused_by = moment(at), by
    return sorted(records.values(), key=lambda one: one.name)


class SyncQueues(BlockingFace[Queues]):
    """`app.sync.queues`: the same verbs, blocking."""

    list = blocking(Queues.list)
    pause = blocking(Queues.pause)
    resume = blocking(Queues.resume)

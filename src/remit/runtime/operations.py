"""What can be done to workers and leadership; each operation awaits nothing but its transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remit.db.transaction import Transaction
from remit.jobs.model import moment
from remit.runtime import queries


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A registered worker. `seen_at`, and `silence`, the seconds since then, are for people; observers use its counter.

    `about` holds `version`, `lease` in seconds, `queues` (slots by queue), `jobs` and `subscriptions`. `health` is its
    own report: `ok`, or `trouble` by part; `unknown`: ready jobs that it leaves to others; `refused`: how many messages
    domains tried to send and may not; `stopping`: it claims no more, and ends. `running` is how many jobs name it.
    """

    id: str
    started_at: datetime
    seen_at: datetime
    host: str
    pid: int
    about: dict[str, Any]
    health: dict[str, Any]
    running: int
    silence: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether it has shown no sign of life for its lease: it has probably died, and is soon declared dead."""
        return self.silence > float(self.about.get("lease", 30.0))

    @property
    def slots(self) -> int:
        """How many jobs it may run at once; none while it is silent."""
        return 0 if self.silent else sum(self.about.get("queues", {}).values())


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """Who leads, and until when unless it renews."""

    role: str
    holder: str
    elected_at: datetime
    expires_at: datetime


async def register(tx: Transaction, worker: str, *, host: str, pid: int, about: str) -> None:
    """Enter a worker under an id that was never used."""
    await tx.fetch(queries.REGISTER, worker=worker, host=host, pid=pid, about=about)


async def deregister(tx: Transaction, worker: str) -> None:
    """Leave; what is still held becomes a case for the rescuer at once."""
    await tx.fetch(queries.DEREGISTER, worker=worker)


async def beat(tx: Transaction, worker: str, *, health: str | None) -> bool:
    """Move the counter; False when the registration is gone."""
    return bool(await tx.fetch(queries.BEAT, worker=worker, health=health))


async def beats(tx: Transaction) -> dict[str, int]:
    """The counter of every registered worker."""
    return dict(await tx.fetch(queries.BEATS))


async def declare_dead(tx: Transaction, worker: str, *, beat: int) -> bool:
    """Remove a worker whose counter still stands where the observer saw it; from then on it claims nothing."""
    return bool(await tx.fetch(queries.DECLARE_DEAD, worker=worker, beat=beat))


async def workers(tx: Transaction) -> list[WorkerRecord]:
    """Every registered worker."""
    return [
        WorkerRecord(
            id=id,
            started_at=moment(started),
            seen_at=moment(seen),
            host=host,
            pid=pid,
            about=json.loads(about),
            health=json.loads(health),
            running=running,
            silence=silence,
        )
        for id, started, seen, host, pid, about, health, running, silence in await tx.fetch(queries.WORKERS)
    ]


async def elect(tx: Transaction, role: str, worker: str, *, term: float) -> int | None:
    """Try to lead for `term` seconds; answers when the term began, or None while another leads."""
    rows = await tx.fetch(queries.ELECT, role=role, worker=worker, term=term)
    return int(rows[0][0]) if rows else None


async def renew(tx: Transaction, role: str, worker: str, *, elected: int, term: float) -> bool:
    """Lengthen exactly this term; False when it is over."""
    return bool(await tx.fetch(queries.RENEW, role=role, worker=worker, elected=elected, term=term))


async def resign(tx: Transaction, role: str, worker: str, *, elected: int) -> None:
    """End exactly this term."""
    await tx.fetch(queries.RESIGN, role=role, worker=worker, elected=elected)


async def leaders(tx: Transaction) -> list[LeaderRecord]:
    """Who leads in each role."""
    return [
        LeaderRecord(role, holder, moment(elected), moment(expires))
        for role, holder, elected, expires in await tx.fetch(queries.LEADERS)
    ]


async def left(tx: Transaction, worker: str, lines: Iterable[tuple[int, str]]) -> bool:
    """Whether anything is left that a worker could do now, by one look: so nothing hides on its way from here to there.

    `lines` are those that it knows, with their queues.
    """
    known = json.dumps([{"line": line, "queue": queue} for line, queue in lines])
    [(anything,)] = await tx.fetch(queries.LEFT, worker=worker, lines=known)
    return bool(anything)

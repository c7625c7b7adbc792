"""What workers do to jobs: claim them, write how their runs ended, free those of workers that are gone.

Each operation is written once and awaits nothing but its transaction (see `remit.db`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from remit.db.statements import document
from remit.db.transaction import Transaction
from remit.execution import queries
from remit.execution.model import Allotment, Claim, Ended, Landed, Rescued
from remit.jobs import queries as jobs
from remit.jobs.operations import check_ids
from remit.jobs.states import State
from remit.outbox import queries as outbox
from remit.outbox.operations import lanes_of

_POSITION = itemgetter(13, 14, 15, 0)
_RINGING = (State.READY, State.DEAD)  # a death is an event


async def heads(tx: Transaction, lines: Iterable[tuple[int, str]], *, suspects: bool = True) -> dict[int, int]:
    """The best ready priority of each line (of a queue) that has work and is not held."""
    known = document([{"line": line, "queue": queue} for line, queue in lines])
    return dict(await tx.fetch(queries.HEADS, lines=known, suspects=suspects))


async def claim(
    tx: Transaction, allotments: Sequence[Allotment], *, worker: str, token: int, suspects: bool = True
) -> tuple[list[Claim], list[Claim]]:
    """Take jobs to run, best first; nobody else will get them. Beside them, those that had expired: they have ended.

    Without `suspects`, those are left to others.
    """
    rows = await tx.fetch(queries.CLAIM, lines=document(allotments), worker=worker, token=token, suspects=suspects)
    rows.sort(key=_POSITION)
    claims: list[Claim] = []
    expired: list[Claim] = []
    for row in rows:
        id, state, line, failures, attempts, suspect, encoding, payload, backoff, correlation, name, trace, *rest = row
        held = id, token, line, failures, attempts, suspect > 0, encoding, payload, backoff, correlation, name
        (claims if state == State.RUNNING else expired).append(Claim(*held, trace, rest[0], rest[4], rest[5] or 0))
    return claims, expired


def _outcome(ended: Ended) -> dict[str, Any]:
    transition = ended.transition
    outcome: dict[str, Any] = {
        "id": ended.id,
        "token": ended.token,
        "attempt": ended.attempt,
        "state": transition.state,
        "failures": transition.failures,
    }
    if transition.delay is not None:
        outcome["delay"] = transition.delay
    if transition.began:
        outcome["began"] = True
    if transition.result is not None:
        outcome["result"] = transition.result
    if transition.reason is not None:
        outcome["reason"] = transition.reason
    if transition.failure is not None:
        outcome["kind"] = transition.failure.kind
        outcome["message"] = transition.failure.message
        outcome["traceback"] = transition.failure.traceback
    return outcome


async def finish(tx: Transaction, ended: Iterable[Ended], *, worker: str, stamp: int) -> list[Landed]:
    """Write outcomes, in id order, with the messages of those that land; a run whose lease is lost is not among them.

    `stamp` becomes the token of what lands: a row that has it was written by this statement. Raises
    `IdTaken`: a batch with ids of an application's own (`Ended.has_own_ids`) needs a transaction, which is rolled back.
    """
    batch = sorted(ended, key=lambda one: one.id)
    messages = [message for one in batch for message in one.messages]
    events = [event for one in batch for event in one.events]
    rows = await tx.fetch(
        queries.FINISH,
        outcomes=document([_outcome(one) for one in batch]),
        jobs=document(messages),
        events=document(events),
        lanes=lanes_of(events),
        worker=worker,
        stamp=stamp,
        ring=bool(messages or events) or any(one.transition.state in _RINGING for one in batch),
    )
    landed = [Landed(row[0], State(row[1])) for row in rows]
    for stored, sent in ((jobs.STORED, messages), (outbox.STORED, events)):
        if own := [each for each in sent if "kinds" in each and any(each["causation"] == one.id for one in landed)]:
            await check_ids(tx, stored, own)
    return landed


async def complete(tx: Transaction, ended: Ended, *, worker: str, stamp: int) -> None:
    """Write one outcome in a transaction that somebody else ends; a lost lease aborts it, in the server.

    Repeated with the same `stamp`, because nobody knew whether its transaction was committed, it finds that it was.
    Raises `IdTaken`, after which the transaction must not be committed: the job would be completed without its message.
    """
    if not await finish(tx, [ended], worker=worker, stamp=stamp):
        _, token = await probe(tx, ended.id)
        if token != stamp:
            await refuse(tx, ended.id)


async def refuse(tx: Transaction, id: str) -> None:
    """Abort a transaction in the server, because the lease on a job is lost; on a caller's handle: `LeaseLost`."""
    await tx.fetch(queries.REFUSE, job=id)


async def probe(tx: Transaction, id: str) -> tuple[bool, int | None]:
    """Whether the row is there, and its token; no token while a transaction pins the row."""
    rows = await tx.fetch(queries.PROBE, id=id)
    return (True, rows[0][1]) if rows else (False, None)


async def start_suspect(tx: Transaction, id: str, *, token: int) -> bool:
    """Note that a suspect starts, before its handler does; False when the lease is lost."""
    return bool(await tx.fetch(queries.START_SUSPECT, id=id, token=token))


async def held(tx: Transaction, *, worker: str) -> list[tuple[str, int, int, bool]]:
    """(id, token, failures, cancellation asked for) of every row that names this worker."""
    return [
        (id, token, failures, bool(asked)) for id, token, failures, asked in await tx.fetch(queries.HELD, worker=worker)
    ]


async def rescue(tx: Transaction, *, token: int, limit: int) -> list[Rescued]:
    """Free rows of workers that are gone."""
    rows = await tx.fetch(queries.RESCUE, token=token, limit=limit)
    return [Rescued(row[0], State(row[1]), bool(row[2]), row[3], row[4]) for row in rows]

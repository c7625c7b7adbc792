"""What can be done to jobs. Each operation is written once and awaits nothing but its transaction (see `remit.db`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import Unpack

from remit.catalog import kind_of
from remit.db.statements import Query, document
from remit.db.transaction import Row, Transaction, Value
from remit.errors import ForeignTransaction, IdTaken, StoreBusy
from remit.jobs import queries
from remit.jobs.model import FailureRecord, Filter, LogRecord, moment
from remit.jobs.rows import NOT_SAID
from remit.jobs.states import Command, State, allows

LARGEST_INSERT = 1000
LOOKS = 3
FOREIGN = "this transaction belongs to another database than the application's: nothing was written"


async def store(tx: Transaction) -> str:
    """The identity of the store: every enqueue proves that it goes to this one."""
    [(identity,)] = await tx.fetch(queries.STORE)
    return str(identity)


async def enqueue(tx: Transaction, jobs: Sequence[dict[str, Any]], *, store: str) -> int:
    """Insert jobs, `LARGEST_INSERT` in a statement; answers how many.

    An id that is there already is left alone, so this can be repeated, and a duplicate aborts nobody's transaction.
    Raises `ForeignTransaction` when the transaction belongs to another store, and `IdTaken`.
    """
    if len(jobs) == 1:
        ring = "delay" not in jobs[0]
        return await insert_one(
            tx, queries.ENQUEUE_ONE, queries.STORED, {**NOT_SAID, **jobs[0]}, store=store, ring=ring
        )
    inserted = 0
    for first in range(0, len(jobs), LARGEST_INSERT):
        batch = jobs[first : first + LARGEST_INSERT]
        ring = any("delay" not in job for job in batch)
        rows = await tx.fetch(queries.ENQUEUE, jobs=document(batch), store=store, ring=ring)
        if not rows:
            raise ForeignTransaction(FOREIGN)
        inserted += rows[0][0]
    return inserted


async def insert_one(
    tx: Transaction, insert: Query, stored: Query, row: dict[str, Any], *, store: str, **params: Value
) -> int:
    """Insert a job or an event; answers 0 for a duplicate. Nothing but a duplicate costs a second statement."""
    fields = {**row}
    fields.pop("kinds", None)
    for _ in range(LOOKS):
        if await tx.fetch(insert, **fields, **params, store=store):
            return 1
        if await check_ids(tx, stored, [row], store=store):
            return 0
    raise StoreBusy(
        f"others insert and delete {row['name']} {row['id']} at this moment, and nothing was written: try again"
    )


async def check_ids(
    tx: Transaction, stored: Query, rows: Sequence[dict[str, Any]], *, store: str | None = None
) -> bool:
    """Whether any of these ids is stored, after an insert that passed over those that are.

    Raises `IdTaken` where a message of another kind has one, and `ForeignTransaction` where the store is not the one
    that is meant.
    """
    found = await tx.fetch(stored, ids=document([row["id"] for row in rows]), store=store)
    if not found:
        raise ForeignTransaction(FOREIGN)
    kinds = {id: kind_of(name, payload) for id, name, payload in found if id is not None}
    for row in rows:
        kind = kinds.get(row["id"])
        if kind is not None and kind not in row.get("kinds", (kind,)):
            raise IdTaken(row["id"], kind, row["kinds"][0])
    return bool(kinds)


async def lines(tx: Transaction) -> list[tuple[int, str, str, int]]:
    """(line, queue, name, version) of every line with ready jobs, known to this program or not."""
    return [(line, queue, name, version) for line, queue, name, version in await tx.fetch(queries.LINES)]


async def promote(tx: Transaction, *, limit: int) -> tuple[int, float | None]:
    """Make due jobs ready. Answers how many, and the seconds until the next is due."""
    [(promoted, due, *_)] = await tx.fetch(queries.PROMOTE, limit=limit)
    return promoted, due


async def log(tx: Transaction, lines: Sequence[dict[str, Any]]) -> None:
    """Keep lines that handlers logged."""
    await tx.fetch(queries.LOG, lines=document(lines))


async def history(tx: Transaction, id: str) -> tuple[list[FailureRecord], list[LogRecord]]:
    """The failed attempts of a job, and the lines that its handler logged."""
    errors = [FailureRecord(row[0], _moment(row[1]), *row[2:]) for row in await tx.fetch(queries.FAILURES, id=id)]
    logs = [LogRecord(row[0], _moment(row[1]), *row[2:]) for row in await tx.fetch(queries.LOGS, id=id)]
    return errors, logs


def _moment(micros: int) -> Any:
    return moment(micros)


def conditions(filter: Filter) -> dict[str, Any]:
    """The parameters of a filter, for a statement."""
    return {**_NO_FILTER, **filter}


_NO_FILTER: dict[str, Any] = {**dict.fromkeys(Filter.__annotations__), "failing": False, "deleted": False}
_SET_ASIDE = frozenset({State.SKIPPED, State.CANCELLED, State.DEAD})


async def matching(tx: Transaction, *, after: str | None, limit: int, **filter: Unpack[Filter]) -> list[str]:
    """The ids of jobs that match, in their order, beginning after one of them."""
    asked = conditions(filter)
    rows = await tx.fetch(queries.MATCHING, **asked, set_aside=asked["state"] in _SET_ASIDE, after=after, limit=limit)
    return [row[0] for row in rows]


async def between(tx: Transaction, low: str, high: str) -> list[str]:
    """The first two ids within a range."""
    return [row[0] for row in await tx.fetch(queries.BETWEEN, low=low, high=high)]


async def count(tx: Transaction, **filter: Unpack[Filter]) -> int:
    """How many jobs match."""
    asked = conditions(filter)
    [(number,)] = await tx.fetch(queries.COUNT, **asked, set_aside=asked["state"] in _SET_ASIDE)
    return int(number)


def _command(rows: list[Row], command: Command) -> tuple[State | None, bool]:
    if not rows:
        return None, False
    was = State(rows[0][0])
    return was, allows(command, was)


async def cancel(tx: Transaction, id: str, *, reason: str | None, by: str | None) -> tuple[State | None, bool]:
    """End a waiting job, ask a running one to stop. Answers the state before (None: no such job), and if it applied."""
    return _command(await tx.fetch(queries.CANCEL, id=id, reason=reason, by=by), Command.CANCEL)


async def cancel_many(tx: Transaction, ids: Sequence[str], *, reason: str | None, by: str | None) -> list[State]:
    """Do the same to many. Answers the states of those to which it applied: `cancelled`, or `running` and asked.

    One that somebody else acts on at this moment is left to them, and is not among those.
    """
    rows = await tx.fetch(queries.CANCEL_MANY, ids=document(list(ids)), reason=reason, by=by)
    return [State(state) for (state,) in rows]


async def retry(tx: Transaction, id: str, *, token: int, by: str | None = None) -> tuple[State | None, bool]:
    """Make a job ready again, with all its attempts. Repeated with the same `token`, it finds that it did."""
    rows = await tx.fetch(queries.RETRY, id=id, token=token, by=by)
    was, applied = _command(rows, Command.RETRY)
    return was, applied or bool(rows and rows[0][1])


async def retry_many(
    tx: Transaction, ids: Sequence[str], *, token: int, by: str | None = None, dead_only: bool = False
) -> list[str]:
    """Do the same to many. Answers the ids of those to which it applied; a row that is locked is left out.

    With `dead_only`, dead letters alone.
    """
    rows = await tx.fetch(queries.RETRY_MANY, ids=document(list(ids)), token=token, by=by, dead_only=dead_only)
    return sorted(row[0] for row in rows)


async def delete(tx: Transaction, id: str, *, purge: bool) -> tuple[State | None, bool]:
    """Hide a job that does not run, or remove it at once."""
    query = queries.PURGE if purge else queries.DELETE
    return _command(await tx.fetch(query, id=id), Command.DELETE)


async def delete_many(tx: Transaction, ids: Sequence[str], *, purge: bool) -> list[str]:
    """Do the same to many. Answers the ids of those to which it applied; a row that is locked is left out."""
    query = queries.PURGE_MANY if purge else queries.DELETE_MANY
    return sorted(row[0] for row in await tx.fetch(query, ids=document(list(ids))))


async def replay(
    tx: Transaction,
    *,
    after: str | None,
    token: int,
    limit: int,
    by: str | None = None,
    **filter: Unpack[Filter],
) -> list[str]:
    """Make a batch of dead letters ready again, in the order of their ids; answers these."""
    filter["state"] = State.DEAD
    ids = await matching(tx, after=after, limit=limit, **filter)
    return await retry_many(tx, ids, token=token, by=by, dead_only=True) if ids else []


async def unfinished(tx: Transaction, ids: Sequence[str]) -> list[str]:
    """Those of some jobs that have not ended, in the order of their ids."""
    return [row[0] for row in await tx.fetch(queries.UNFINISHED, ids=document(list(ids)))]


async def final_queues(tx: Transaction) -> list[str]:
    """Every queue that has ended jobs."""
    return [row[0] for row in await tx.fetch(queries.FINAL_QUEUES)]


async def prune(tx: Transaction, *, queue: str, age: float, dead: bool, limit: int) -> int:
    """Remove one batch of a queue's ended jobs that are older than `age` seconds."""
    return len(await tx.fetch(queries.PRUNE, queue=queue, age=age, dead=dead, limit=limit))


async def prune_beyond(tx: Transaction, *, queue: str, count: int, limit: int) -> int:
    """Remove one batch of what exceeds the newest `count` ended jobs of a queue."""
    return len(await tx.fetch(queries.PRUNE_BEYOND, queue=queue, count=count, limit=limit))


async def prune_kept(tx: Transaction, *, limit: int) -> int:
    """Remove one batch of ended jobs that were sent with a `keep` of their own."""
    return len(await tx.fetch(queries.PRUNE_KEPT, limit=limit))


async def pause(tx: Transaction, queue: str, *, by: str | None) -> None:
    """Claim no more from a queue."""
    await tx.fetch(queries.PAUSE, queue=queue, by=by)


async def resume(tx: Transaction, queue: str) -> bool:
    """Claim from a queue again; False when it was not paused."""
    return bool(await tx.fetch(queries.RESUME, queue=queue))


async def paused(tx: Transaction) -> list[tuple[str, int, str | None]]:
    """(queue, since, by whom) of every paused queue."""
    return [(name, at, by) for name, at, by in await tx.fetch(queries.PAUSED)]


async def waiting(tx: Transaction) -> list[tuple[str, State, int, int, float | None]]:
    """(queue, state, how many, of these after a failure, age of the oldest in seconds) of what has not ended."""
    return [
        (queue, State(state), count, failed, age)
        for queue, state, count, failed, age in await tx.fetch(queries.WAITING)
    ]


async def failed_attempts(tx: Transaction, *, seconds: float) -> dict[str, int]:
    """How many attempts failed within the last so many seconds, by queue."""
    return dict(await tx.fetch(queries.FAILED_ATTEMPTS, seconds=seconds))


async def ended(tx: Transaction, *, seconds: float) -> list[tuple[str, State, int]]:
    """(queue, state, how many) of what ended within the last so many seconds."""
    return [(queue, State(state), count) for queue, state, count in await tx.fetch(queries.ENDED, seconds=seconds)]


async def dead(tx: Transaction) -> dict[str, int]:
    """Dead letters by queue."""
    return dict(await tx.fetch(queries.DEAD))

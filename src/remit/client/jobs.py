"""`app.jobs`: look at jobs and act on them. Every verb is safe against a worker that acts on the same job meanwhile."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from remit.catalog import AnyId, id_text
from remit.client.faces import BlockingFace, Runs, blocking
from remit.db.transaction import Transaction
from remit.errors import InvalidArgument, InvalidTransition, JobNotFound, nearest
from remit.jobs import operations
from remit.jobs.ids import new_token
from remit.jobs.model import JobRecord, Page, micros
from remit.jobs.states import Command, State, allowed_for

LONGEST_PAGE = 1000
REPLAY_BATCH = 500
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks at what is under way, while nothing more may be."""

_Commanded = Callable[[Transaction, str], Coroutine[Any, Any, tuple[State | None, bool]]]


class Jobs:
    """Jobs, one or many. An id is a text, as `JobRef.id` gives it, or a `uuid.UUID`."""

    def __init__(self, database: Runs) -> None:
        self._database = database

    async def get(self, id: AnyId) -> JobRecord:
        """One job, with its failed attempts and the lines that its handler logged. Raises `JobNotFound`."""
        known = _known(id)
        job = await self._database.run(lambda tx: operations.get(tx, known), atomic=False)
        if job is None:
            raise JobNotFound(_missing(known))
        return job

    async def list(
        self,
        *,
        state: str | None = None,
        job: str | None = None,
        queue: str | None = None,
        domain: str | None = None,
        label: str | None = None,
        reason: str | None = None,
        deleted: bool = False,
        limit: int = 50,
        after: AnyId | None = None,
    ) -> Page:
        """Jobs, newest first, a page at a time.

        `job` and `queue` are whole names (`billing.sync-invoice`). `reason` matches a part of the reason for which a
        job was skipped, cancelled, put off or given up; no index serves it, so name a `state` with it. `after` is what
        the page before answered; a page whose own `after` is None is the last. `limit` is 1 to 1000. Pages are keyed,
        so they neither slow down nor skip jobs while others come and go. `deleted=True` shows deleted jobs too.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidArgument(f"limit is {limit}: a page has 1 to {LONGEST_PAGE} jobs; go on with after=page.after")
        position = id_text(after)
        if after is not None and position is None:
            raise InvalidArgument(f"after is {after!r}: pass what the page before gave as its `after`")
        name = None if state is None else _state(state)
        return await self._database.run(
            lambda tx: operations.list_jobs(
                tx,
                state=name,
                domain=domain,
                queue=queue,
                name=job,
                label=label,
                reason=reason,
                deleted=deleted,
                after=position,
                limit=limit,
            ),
            atomic=False,
        )

    async def cancel(self, id: AnyId, *, reason: str | None = None, by: str | None = None) -> JobRecord:
        """Cancel a job that waits; ask one that runs to stop, at the latest when it would be tried again.

        Answers the job as it is now: `cancelled`, or still `running` with `cancel_requested_at` set. Raises
        `JobNotFound`, and `InvalidTransition` for a job that has ended.
        """
        return await self._act(id, Command.CANCEL, lambda tx, id: operations.cancel(tx, id, reason=reason, by=by))

    async def retry(self, id: AnyId) -> JobRecord:
        """Make a scheduled, dead, cancelled or skipped job ready now, with all its attempts.

        Raises `JobNotFound`, and `InvalidTransition` for a job in another state.
        """
        token = new_token()
        return await self._act(id, Command.RETRY, lambda tx, id: operations.retry(tx, id, token=token))

    async def delete(self, id: AnyId, *, purge: bool = False) -> State:
        """Hide a job from lists; one that waits is cancelled. The retention of its queue removes it in time.

        `purge=True` removes it at once, with its failures and logs. Answers the state that it was in. Raises
        `JobNotFound`, and `InvalidTransition` for a job that runs: cancel it first.
        """
        return await self._apply(id, Command.DELETE, lambda tx, id: operations.delete(tx, id, purge=purge))

    async def replay(
        self,
        id: str | None = None,
        *,
        job: str | None = None,
        queue: str | None = None,
        domain: str | None = None,
        reason: str | None = None,
        dead_before: datetime | None = None,
        in_flight: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Make dead letters ready again: one by its id, or all that match, oldest first. Answers how many.

        `reason` matches a part of the reason of their death. Works in batches of 500, each a transaction of its own;
        `progress` is told the count after each. A letter that dies again meanwhile is not replayed twice.

        `in_flight` is how many of those that were replayed may be under way at once; the next follow as workers end
        them. One that waits for another attempt is under way too, so what is not mended stops the replay early. It
        waits for as long as nobody works; stopped half-way, the others stay dead.

        Raises `JobNotFound` and `InvalidTransition` for an id that is no dead letter, and `InvalidArgument`.
        """
        if in_flight is not None and (in_flight < 1 or isinstance(in_flight, bool)):
            raise InvalidArgument(f"in_flight is how many may be under way at once, 1 or more, not {in_flight!r}")
        if id is not None:
            record = await self.get(id)
            if record.state is not State.DEAD:
                raise InvalidTransition(f"job {id} is {record.state}: only a dead letter can be replayed")
            await self.retry(id)
            return 1
        before = _before(dead_before)
        replayed, under_way, after = 0, list[str](), None
        while True:
            room = await self._room(in_flight, under_way)
            batch = await self._replay_batch(domain, queue, job, reason, before, after, room)
            replayed += len(batch)
            if progress is not None and batch:
                progress(replayed)
            if len(batch) < room:
                return replayed
            under_way, after = [*under_way, *batch], batch[-1]
            if in_flight is not None and not await self._more(domain, queue, job, reason, after):
                return replayed  # and wait for nothing

    async def _more(
        self, domain: str | None, queue: str | None, job: str | None, reason: str | None, after: str
    ) -> bool:
        """Whether there may be a dead letter behind the last one that was replayed: the newest one tells."""
        newest = (await self.list(state="dead", domain=domain, queue=queue, job=job, reason=reason, limit=1)).jobs
        return bool(newest) and newest[0].id > after

    async def _room(self, in_flight: int | None, under_way: builtins.list[str]) -> int:
        """How many the next batch may have; waits until there is any room. Takes what has ended off the list."""
        if in_flight is None:
            under_way.clear()
            return REPLAY_BATCH
        pause = SHORTEST_PAUSE
        while True:
            if under_way:
                under_way[:] = await self._database.run(lambda tx: operations.unfinished(tx, under_way), atomic=False)
            if len(under_way) < in_flight:
                return min(REPLAY_BATCH, in_flight - len(under_way))
            await self._database.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)

    async def _replay_batch(
        self,
        domain: str | None,
        queue: str | None,
        job: str | None,
        reason: str | None,
        before: int | None,
        after: str | None,
        limit: int,
    ) -> builtins.list[str]:
        return await self._database.run(
            lambda tx: operations.replay(
                tx,
                domain=domain,
                queue=queue,
                name=job,
                reason=reason,
                before=before,
                after=after,
                token=new_token(),
                limit=limit,
            ),
            atomic=False,
        )

    async def count_dead(
        self,
        *,
        job: str | None = None,
        queue: str | None = None,
        domain: str | None = None,
        reason: str | None = None,
        dead_before: datetime | None = None,
    ) -> int:
        """How many dead letters a `replay` with the same filter would take."""
        before = _before(dead_before)
        return await self._database.run(
            lambda tx: operations.count_dead(tx, domain=domain, queue=queue, name=job, reason=reason, before=before),
            atomic=False,
        )

    async def _act(self, id: AnyId, command: Command, work: _Commanded) -> JobRecord:
        await self._apply(id, command, work)
        return await self.get(id)

    async def _apply(self, given: AnyId, command: Command, work: _Commanded) -> State:
        """Do it, and answer the state that the job was in."""
        id = _known(given)
        was, applied = await self._database.run(lambda tx: work(tx, id))
        if was is None:
            raise JobNotFound(_missing(id))
        if not applied:
            states = ", ".join(allowed_for(command))
            hint = "; cancel it first" if was is State.RUNNING else ""
            raise InvalidTransition(f"job {id} is {was}: {command} takes jobs that are {states}{hint}")
        return was


def _known(given: object) -> str:
    id = id_text(given)
    if id is None:
        raise JobNotFound(f"{given!r} is no id of a job: copy one from `remit jobs list`")
    return id


def _missing(id: str) -> str:
    return f"there is no job {id}: it was never committed, or its retention has passed"


def _state(state: str) -> str:
    try:
        return State(state).value
    except ValueError:
        raise InvalidArgument(
            f"state {state!r} is no state of a job.{nearest(state, list(State))} The states are {', '.join(State)}."
        ) from None


def _before(at: datetime | None) -> int | None:
    if at is not None and at.utcoffset() is None:
        raise InvalidArgument("dead_before has no time zone: pass an aware datetime, e.g. datetime.now(UTC)")
    return None if at is None else micros(at)


class SyncJobs(BlockingFace[Jobs]):
    """`app.sync.jobs`: the same verbs, blocking."""

    get = blocking(Jobs.get)
    list = blocking(Jobs.list)
    cancel = blocking(Jobs.cancel)
    retry = blocking(Jobs.retry)
    delete = blocking(Jobs.delete)
    replay = blocking(Jobs.replay)
    count_dead = blocking(Jobs.count_dead)

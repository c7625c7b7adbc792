"""`app.jobs`: look at jobs and act on them. Every verb is safe against a worker that acts on the same job meanwhile."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from typing_extensions import Unpack

from remit.catalog import AnyId, id_text
from remit.client import records
from remit.client.faces import BlockingFace, Runs, blocking
from remit.client.filters import Called, JobFilter, by_that_name, checked
from remit.db.transaction import Transaction
from remit.errors import InvalidArgument, InvalidTransition, JobNotFound
from remit.jobs import operations
from remit.jobs.cursor import Cursor
from remit.jobs.ids import bounds_of, holds_time, new_token
from remit.jobs.model import Filter, JobRecord, Page
from remit.jobs.states import Command, State, allowed_for
from remit.outbox import operations as outbox

LONGEST_PAGE = 1000
BATCH = 500
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks at what is under way, while nothing more may be."""

_Commanded = Callable[[Transaction, str], Coroutine[Any, Any, tuple[State | None, bool]]]


class Jobs:
    """Jobs, one or many. An id is a text, as `JobRef.id` gives it, or a `uuid.UUID`."""

    def __init__(self, database: Runs, called: Called = by_that_name) -> None:
        self._database = database
        self._called = called

    async def _checked(self, filter: JobFilter) -> Filter:
        """A filter as the statements take it, with all names of its job or subscription."""
        name = filter.get("job")
        if name is None:
            return checked(filter)
        former = await self._database.run(lambda tx: outbox.called(tx, name), atomic=False)
        return checked(filter, {*self._called(name), *former})

    async def get(self, id: AnyId) -> JobRecord:
        """One job, with its failed attempts and the lines that its handler logged. Raises `JobNotFound`."""
        known = _known(id)
        job = await self._database.run(lambda tx: records.get(tx, known), atomic=False)
        if job is None:
            raise JobNotFound(_missing(known))
        return job

    async def whole_id(self, beginning: str) -> str:
        """The id of the one job whose id begins with some characters, at least 8; a whole id is answered as it is.

        Raises `JobNotFound`, and `InvalidArgument` where several jobs have such ids.
        """
        if whole := id_text(beginning):
            return whole
        if not (bounds := bounds_of(beginning.lower())):
            return beginning
        found = await self._database.run(lambda tx: operations.between(tx, *bounds), atomic=False)
        if not found:
            raise JobNotFound(f"no job has an id that begins with {beginning!r}")
        if len(found) > 1:
            raise InvalidArgument(f"several jobs have ids that begin with {beginning!r}: give more of the id")
        return found[0]

    async def list(self, *, limit: int = 50, after: AnyId | None = None, **filter: Unpack[JobFilter]) -> Page:
        """Jobs that match a filter (`JobFilter`), newest first, a page at a time.

        `limit` is 1 to 1000. `after` is the `after` of the page before; a page whose own `after` is None is the last.
        Pages are keyed, so they neither slow down nor skip jobs while others come and go. Raises `InvalidArgument`.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidArgument(f"limit is {limit}: a page has 1 to {LONGEST_PAGE} jobs; go on with after=page.after")
        place = _cursor(after)
        conditions = await self._checked(filter)
        return await self._database.run(
            lambda tx: records.list_jobs(tx, **conditions, after=place, limit=limit), atomic=False
        )

    async def count(self, **filter: Unpack[JobFilter]) -> int:
        """How many jobs match a filter (`JobFilter`). It reads all of them. Raises `InvalidArgument`."""
        conditions = await self._checked(filter)
        return await self._database.run(lambda tx: operations.count(tx, **conditions), atomic=False)

    async def cancel(self, id: AnyId, *, reason: str | None = None, by: str | None = None) -> JobRecord:
        """Cancel a job that waits; ask one that runs to stop, at the latest when it would be tried again.

        Answers the job as it is now: `cancelled`, or still `running` with `cancel_requested_at` set. Raises
        `JobNotFound`, and `InvalidTransition` for a job that has ended.
        """
        return await self._act(id, Command.CANCEL, lambda tx, id: operations.cancel(tx, id, reason=reason, by=by))

    async def retry(self, id: AnyId, *, by: str | None = None) -> JobRecord:
        """Make a scheduled, dead, cancelled or skipped job ready now, with all its attempts.

        The job's log keeps `by`, the person, and the reason for which the job was dead, cancelled or skipped. Raises
        `JobNotFound`, and `InvalidTransition` for a job in another state.
        """
        token = new_token()
        return await self._act(id, Command.RETRY, lambda tx, id: operations.retry(tx, id, token=token, by=by))

    async def delete(self, id: AnyId, *, purge: bool = False) -> State:
        """Hide a job from lists; one that waits is cancelled. The retention of its queue removes it in time.

        `purge=True` removes it at once, with its failures and logs. Answers the state that it was in. Raises
        `JobNotFound`, and `InvalidTransition` for a job that runs: cancel it first.
        """
        return await self._apply(id, Command.DELETE, lambda tx, id: operations.delete(tx, id, purge=purge))

    async def cancel_many(
        self,
        *,
        why: str | None = None,
        by: str | None = None,
        progress: Callable[[int], None] | None = None,
        **filter: Unpack[JobFilter],
    ) -> int:
        """Cancel the jobs that match a filter and wait; ask those that run to stop. Answers how many.

        `why` becomes their reason, `by` is the person. Works in batches of 500, each a transaction of its own;
        `progress` gets the count after each. Jobs that have ended are left alone; a row that somebody acts on at that
        moment is left to them. Raises `InvalidArgument`, also for a filter without any condition.
        """

        async def act(tx: Transaction, ids: builtins.list[str]) -> int:
            return len(await operations.cancel_many(tx, ids, reason=why, by=by))

        return await self._act_on_all(filter, act, progress)

    async def retry_many(
        self, *, by: str | None = None, progress: Callable[[int], None] | None = None, **filter: Unpack[JobFilter]
    ) -> int:
        """Make the scheduled, dead, cancelled and skipped jobs that match a filter ready now, with all their attempts.

        Answers how many. Batches, `by`, `progress` and errors are those of `cancel_many` and `retry`.
        """

        async def act(tx: Transaction, ids: builtins.list[str]) -> int:
            return len(await operations.retry_many(tx, ids, token=new_token(), by=by))

        return await self._act_on_all(filter, act, progress)

    async def delete_many(
        self, *, purge: bool = False, progress: Callable[[int], None] | None = None, **filter: Unpack[JobFilter]
    ) -> int:
        """Delete the jobs that match a filter and do not run, as `delete` does. Answers how many.

        Batches, `progress` and errors are those of `cancel_many`.
        """

        async def act(tx: Transaction, ids: builtins.list[str]) -> int:
            return len(await operations.delete_many(tx, ids, purge=purge))

        return await self._act_on_all(filter, act, progress)

    async def _act_on_all(
        self,
        filter: JobFilter,
        act: Callable[[Transaction, builtins.list[str]], Awaitable[int]],
        progress: Callable[[int], None] | None,
    ) -> int:
        conditions = await self._checked(filter)
        if not any(conditions.values()):
            raise InvalidArgument(
                "a filter without any condition would take every job: name at least one, for instance state= or domain="
            )
        done, after = 0, None
        while True:
            at = after

            async def batch(tx: Transaction, at: str | None = at) -> tuple[builtins.list[str], int]:
                ids = await operations.matching(tx, after=at, limit=BATCH, **conditions)
                return ids, await act(tx, ids) if ids else 0

            ids, number = await self._database.run(batch)
            done += number
            if progress is not None and number:
                progress(done)
            if len(ids) < BATCH:
                return done
            after = ids[-1]

    async def replay(
        self,
        id: AnyId | None = None,
        *,
        by: str | None = None,
        in_flight: int | None = None,
        progress: Callable[[int], None] | None = None,
        **filter: Unpack[JobFilter],
    ) -> int:
        """Make dead letters ready again: one by its id, or all that match a filter, in the order of their ids.

        Answers how many. `by` is the person, for the log of each job. Works in batches of 500, each a transaction of
        its own; `progress` gets the count after each. A letter that dies again meanwhile is not replayed twice.

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
                raise InvalidTransition(f"job {record.id} is {record.state}: only a dead letter can be replayed")
            await self.retry(id, by=by)
            return 1
        letters: JobFilter = {**filter, "state": State.DEAD}
        conditions = await self._checked(letters)
        replayed, under_way, after = 0, list[str](), None
        while True:
            room = await self._room(in_flight, under_way)
            at, token = after, new_token()

            async def batch(
                tx: Transaction, at: str | None = at, room: int = room, token: int = token
            ) -> tuple[builtins.list[str], builtins.list[str]]:
                ids = await operations.matching(tx, after=at, limit=room, **conditions)
                done = await operations.retry_many(tx, ids, token=token, by=by, dead_only=True) if ids else []
                return ids, done

            ids, done = await self._database.run(batch)
            replayed += len(done)
            if progress is not None and done:
                progress(replayed)
            if len(ids) < room:
                return replayed
            under_way, after = [*under_way, *done], ids[-1]
            if in_flight is not None and not await self._more(letters, after):
                return replayed  # and wait for nothing

    async def _more(self, letters: JobFilter, after: str) -> bool:
        """Whether there is a dead letter behind the last one that was replayed."""
        conditions = await self._checked(letters)
        return bool(
            await self._database.run(
                lambda tx: operations.matching(tx, after=after, limit=1, **conditions), atomic=False
            )
        )

    async def _room(self, in_flight: int | None, under_way: builtins.list[str]) -> int:
        """How many the next batch may have; waits until there is any room. Takes what has ended off the list."""
        if in_flight is None:
            under_way.clear()
            return BATCH
        pause = SHORTEST_PAUSE
        while True:
            if under_way:
                under_way[:] = await self._database.run(lambda tx: operations.unfinished(tx, under_way), atomic=False)
            if len(under_way) < in_flight:
                return min(BATCH, in_flight - len(under_way))
            await self._database.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)

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


def _cursor(after: AnyId | None) -> str | None:
    if after is None:
        return None
    text = id_text(after) or str(after)
    try:
        cursor = Cursor.read(text)
    except ValueError:
        cursor = None
    if cursor is None or not _is_id(cursor.id, cursor.own_id) or (not holds_time(text) and "~" not in text):
        raise InvalidArgument(f"after is {after!r}: pass what the page before gave as its `after`")
    return text


def _is_id(*texts: str) -> bool:
    return all(id_text(text) == text for text in texts)


class SyncJobs(BlockingFace[Jobs]):
    """`app.sync.jobs`: the same verbs, blocking."""

    get = blocking(Jobs.get)
    whole_id = blocking(Jobs.whole_id)
    list = blocking(Jobs.list)
    cancel = blocking(Jobs.cancel)
    retry = blocking(Jobs.retry)
    delete = blocking(Jobs.delete)
    count = blocking(Jobs.count)
    cancel_many = blocking(Jobs.cancel_many)
    retry_many = blocking(Jobs.retry_many)
    delete_many = blocking(Jobs.delete_many)
    replay = blocking(Jobs.replay)

"""Finds out what became of a completion in a transaction that somebody else ends.

Such a completion is provisional: the caller may roll back, or never commit. The row tells: with our stamp it landed,
with the claim's token it was rolled back, with another the lease was lost; while it is locked, the transaction is open.
"""

from __future__ import annotations

import asyncio

from remit.db.transaction import Database
from remit.errors import StoreBusy, StoreUnavailable
from remit.execution import operations as execution
from remit.jobs.states import Completed, Failed, Failure, Outcome, State
from remit.runtime.handlers.runs import LiveRun
from remit.runtime.path.completer import Completer
from remit.runtime.path.ledger import Claims
from remit.runtime.path.settlement import Settlement

FIRST_LOOK, LAST_LOOK = 0.01, 1.0
ROLLED_BACK = Failure(
    "CompletionRolledBack", "the transaction in which the run completed its job was rolled back, or never committed"
)


class Prober:
    """One task per completion that is in doubt; there are few."""

    def __init__(self, database: Database, completer: Completer, claims: Claims, settlement: Settlement) -> None:
        self._database = database
        self._completer = completer
        self._claims = claims
        self._settlement = settlement
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, run: LiveRun, otherwise: Outcome | None) -> None:
        """Settle a run; `otherwise` is its outcome if the completion did not land, by default a failure."""
        task = asyncio.create_task(self._settle(run, otherwise), name=f"remit-prober {run.job_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until nothing is in doubt."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(self, run: LiveRun, otherwise: Outcome | None) -> None:
        token = await self._token(run)
        if token is None or token == run.stamp:  # the row is gone: it had ended, and was pruned
            self._settlement.landed(run.end(Completed()), State.COMPLETED)
        elif token != run.claim.token:
            self._settlement.refused(run.end(Completed()))
        elif self._claims.ledger.knows(run.job_id, token):
            self._completer.put(run.end(otherwise or Failed(ROLLED_BACK, 0.0)))

    async def _token(self, run: LiveRun) -> int | None:
        """The row's token, once no open transaction pins it; None when the row is gone.

        A lost lease changes nothing here: a completion that was written before it stands if its transaction commits.
        """
        pause = FIRST_LOOK
        while True:
            try:
                found, token = await self._probe(run)
                if not found or token is not None:
                    return token
            except (StoreUnavailable, StoreBusy):
                pass  # the completer, which uses the same database, says so
            await asyncio.sleep(pause)
            pause = min(LAST_LOOK, pause * 2)

    async def _probe(self, run: LiveRun) -> tuple[bool, int | None]:
        """Most have landed when their run ends: that needs no lock. What has not may be in a transaction that is open:
        a row pinned on PostgreSQL; on SQLite, a writer for whom an atomic probe waits.
        """
        found, token = await self._database.run(lambda tx: execution.probe(tx, run.job_id), atomic=False)
        if token == run.stamp:
            return found, token
        return await self._database.run(lambda tx: execution.probe(tx, run.job_id))

"""Finds out what became of a completion in a transaction that somebody else ends.

Such a completion is provisional: the caller may roll back, or never commit. The row tells: with our stamp it landed,
with the claim's token it was rolled back, with another the lease was lost; while it is locked, the transaction is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from remit.db.transaction import Database
from remit.errors import StoreBusy, StoreUnavailable
from remit.jobs import operations
from remit.jobs.model import Ended
from remit.jobs.states import Failed, Failure, Outcome, decide
from remit.runtime.completer import Completer
from remit.runtime.ledger import Ledger
from remit.runtime.runs import LiveRun
from remit.telemetry import Telemetry

FIRST_LOOK, LAST_LOOK = 0.01, 1.0
ROLLED_BACK = Failure(
    "CompletionRolledBack", "the transaction in which the run completed its job was rolled back, or never committed"
)


class Prober:
    """One task per completion that is in doubt; there are few."""

    def __init__(
        self, database: Database, completer: Completer, ledger: Callable[[], Ledger], telemetry: Telemetry
    ) -> None:
        self._database = database
        self._completer = completer
        self._ledger = ledger
        self._telemetry = telemetry
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
        ledger, claim = self._ledger(), run.claim
        token = await self._token(run, ledger)
        if ledger.fenced:
            return
        if token == claim.token:
            self._rolled_back(run, otherwise)
            return
        ledger.drop(claim.id, claim.token)
        if token is None or token == run.stamp:  # the row is gone: it had ended, and was pruned
            self._telemetry.ended("completed")
        else:
            self._telemetry.lease_lost(run.name, run.job_id)

    async def _token(self, run: LiveRun, ledger: Ledger) -> int | None:
        """The row's token, once no open transaction pins it; None when the row is gone."""
        pause = FIRST_LOOK
        while not ledger.fenced:
            try:
                found, token = await self._probe(run)
                if not found or token is not None:
                    return token
            except (StoreUnavailable, StoreBusy):
                pass  # the completer, which uses the same database, says so
            await asyncio.sleep(pause)
            pause = min(LAST_LOOK, pause * 2)
        return None

    async def _probe(self, run: LiveRun) -> tuple[bool, int | None]:
        """Most have landed when their run ends: that needs no lock. What has not may be in a transaction that is open:
        a row pinned on PostgreSQL; on SQLite, a writer for whom an atomic probe waits.
        """
        found, token = await self._database.run(lambda tx: operations.probe(tx, run.job_id), atomic=False)
        if token == run.stamp:
            return found, token
        return await self._database.run(lambda tx: operations.probe(tx, run.job_id))

    def _rolled_back(self, run: LiveRun, otherwise: Outcome | None) -> None:
        claim = run.claim
        outcome = otherwise or Failed(ROLLED_BACK, 0.0)
        transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
        self._completer.put(Ended(claim.id, claim.token, run.attempt, transition, [], run.attempts), run.name)
